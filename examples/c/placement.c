/* Which node takes which job? Three services and a job for a GPU that nobody has.
 *
 *     cc placement.c $(pkg-config --cflags --libs fogcompute) -o placement
 */
#include <fogcompute.h>

#include <stdio.h>
#include <stdlib.h>

#define GIB ((uint64_t)1 << 30)
/* Identifiers of jobs have 32 digits, of nodes 64. */
#define FOUR(digits) digits digits digits digits
#define JOB(digits) FOUR(FOUR(digits))
#define NODE(digits) JOB("00") "000000000000000000000000000000" digits

/* Ends the program when a call fails. */
static void must(fog_status status) {
    if (status != FOG_STATUS_OK) {
        fprintf(stderr, "%s: %s\n", fog_status_name(status), fog_last_error_message());
        exit(1);
    }
}

static fog_job job(const char *id, uint64_t cpu_millis) {
    fog_job result;
    must(fog_job_default(&result));
    result.id = id;
    result.cpu_millis = cpu_millis;
    result.memory_bytes = GIB;
    result.duration_ms = 1000;
    return result;
}

static fog_node node(const char *id, uint64_t price, const char *zone, const char *operator_name) {
    fog_node result;
    must(fog_node_default(&result));
    result.id = id;
    result.cpu_millis_free = result.cpu_millis_total = 2000;
    result.memory_bytes_free = 4 * GIB;
    result.trust = 0.9;
    result.price_per_cpu_second = price;
    result.zone = zone;
    result.operator_name = operator_name;
    result.has_availability = result.has_error_rate = true;
    result.availability = 0.98;
    result.error_rate = 0.0005;
    return result;
}

static void print(const fog_plan *plan) {
    size_t chosen = fog_plan_chosen(plan);
    fog_point point;
    fog_assignment placed;
    must(fog_plan_point(plan, chosen, &point));
    for (size_t i = 0; i < point.assignment_count; i++) {
        must(fog_plan_assignment(plan, chosen, i, &placed));
        printf("%.2s on node %s\n", placed.job, &placed.node[63]);
    }
}

int main(void) {
    const fog_job_spread web = {.group = "web", .over = FOG_DOMAIN_ZONE, .most = 2};
    const char *const beside = JOB("b0");
    fog_job jobs[] = {job(JOB("a0"), 500), job(beside, 500), job(JOB("c0"), 250),
                      job(JOB("d0"), 500)};
    /* Gold: on three nodes in different zones that different people run. */
    jobs[0].tier = FOG_TIER_GOLD;
    jobs[0].spread = jobs[1].spread = &web;
    /* On the same node as the job before. */
    jobs[2].affinity = &beside;
    jobs[2].affinity_count = 1;
    jobs[3].gpus = 1;
    const fog_node nodes[] = {node(NODE("01"), 1, "a", "ann"), node(NODE("02"), 2, "b", "bob"),
                              node(NODE("03"), 3, "c", "cyd"), node(NODE("04"), 4, "a", "bob")};
    const fog_placing placing = {.sharing = FOG_SHARING_CONCURRENT, .seed = 1};

    fog_plan *plan;
    must(fog_place(jobs, 3, nodes, 4, &placing, &plan));
    print(plan);
    fog_plan_free(plan);

    fog_left_out *left_out;
    must(fog_place_what_fits(jobs, 4, nodes, 4, &placing, &plan, &left_out));
    for (size_t i = 0; i < fog_left_out_count(left_out); i++) {
        fog_left_out_job left;
        char *why;
        must(fog_left_out_get(left_out, i, &left));
        must(fog_left_out_explain(left_out, i, &why));
        printf("%.2s is left out: %s\n", left.job, why);
        fog_string_free(why);
    }
    fog_left_out_free(left_out);
    fog_plan_free(plan);
    return 0;
}
