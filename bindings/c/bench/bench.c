/* What one call costs from C. Prints one JSON object per line.
 *
 * --short makes few calls: to see that it works, not to learn how long anything takes.
 */
#include <fogcompute.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RUNS = 7 };

static bool is_short;

/* Where results go, so that no call can be left out. */
static volatile size_t sink;

static void must(fog_status status) {
    if (status != FOG_STATUS_OK) {
        fprintf(stderr, "%s: %s\n", fog_status_name(status), fog_last_error_message());
        exit(1);
    }
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median over the runs of the mean time of n calls, that of the loop included. */
static void bench(const char *name, size_t n, void (*call)(void *), void *data) {
    double ns[RUNS];
    if (is_short) {
        n = n < 1000 ? 1 : n / 1000;
    }
    call(data);
    for (size_t run = 0; run < RUNS; run++) {
        double start = now();
        for (size_t i = 0; i < n; i++) {
            call(data);
        }
        ns[run] = (now() - start) / (double)n;
    }
    qsort(ns, RUNS, sizeof *ns, ascending);
    printf("{\"case\": \"%s\", \"ns\": %.1f, \"n\": %zu}\n", name, ns[RUNS / 2], n);
    fflush(stdout);
}

struct objects {
    fog_sphinx *sphinx;
    fog_private_key *key;
    uint8_t *packet;
    uint8_t *out;
    size_t packet_len;
    fog_ledger *ledger;
    fog_harvest_policy *policy;
    fog_device_state state;
    fog_fog *fog;
};

static const char ACCOUNT[] = "01010101010101010101010101010101";

static void noop(void *data) {
    sink = fog_sphinx_packet_bytes(((struct objects *)data)->sphinx);
}

static void version(void *data) {
    (void)data;
    sink = (size_t)fog_version()[0];
}

static void sphinx_process(void *data) {
    struct objects *objects = data;
    fog_processed processed;
    size_t len;
    must(fog_sphinx_process(objects->sphinx, objects->key, objects->packet, objects->packet_len,
                            objects->out, objects->packet_len, &len, &processed));
    sink = len;
}

static void ledger_balance(void *data) {
    fog_amount amount;
    must(fog_ledger_balance(((struct objects *)data)->ledger, ACCOUNT, &amount));
    sink = (size_t)amount.text[0];
}

static void harvest_decide(void *data) {
    struct objects *objects = data;
    fog_decision *decision;
    must(fog_harvest_policy_decide(objects->policy, &objects->state, &decision));
    sink = (size_t)fog_decision_verdict(decision);
    fog_decision_free(decision);
}

static int32_t no_battery(void *user_data, fog_battery *out) {
    (void)user_data;
    out->kind = FOG_BATTERY_KIND_ABSENT;
    return 0;
}

static void callback(void *data) {
    struct objects *objects = data;
    const fog_battery_probe probe = {.battery = no_battery};
    fog_decision *decision;
    must(fog_harvest_policy_decide_with_probe(objects->policy, &objects->state, &probe,
                                              &decision));
    sink = (size_t)fog_decision_verdict(decision);
    fog_decision_free(decision);
}

static int32_t identity(void *user_data, const double *genes, size_t count, size_t gene_count,
                        double *objectives, size_t objective_count, double *violations) {
    (void)user_data, (void)gene_count, (void)objective_count, (void)violations;
    memcpy(objectives, genes, count * sizeof *genes);
    return 0;
}

static void nsga2(void *data) {
    (void)data;
    const fog_variable variable = {.kind = FOG_VARIABLE_KIND_REAL, .low = 0.0, .high = 1.0};
    const fog_problem problem = {
        .variables = &variable, .variable_count = 1, .objective_count = 1, .evaluate = identity};
    fog_search_config config;
    fog_front *front;
    must(fog_search_config_default(&config));
    config.population = 100;
    config.generations = 9;
    must(fog_minimize(&problem, &config, NULL, 0, 0, &front));
    sink = fog_front_size(front);
    fog_front_free(front);
}

/* A module of the task ABI that returns nothing. */
static const uint8_t EMPTY_TASK[] = {
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00,             /* magic, version 1 */
    0x01, 0x0c, 0x02,                                           /* two types */
    0x60, 0x01, 0x7f, 0x01, 0x7f,                               /* (i32) -> i32 */
    0x60, 0x02, 0x7f, 0x7f, 0x01, 0x7e,                         /* (i32, i32) -> i64 */
    0x03, 0x03, 0x02, 0x00, 0x01,                               /* a function of each */
    0x05, 0x03, 0x01, 0x00, 0x01,                               /* a memory of one page */
    0x07, 0x20, 0x03,                                           /* three exports */
    0x06, 'm', 'e', 'm', 'o', 'r', 'y', 0x02, 0x00,
    0x09, 'f', 'o', 'g', '_', 'a', 'l', 'l', 'o', 'c', 0x00, 0x00,
    0x07, 'f', 'o', 'g', '_', 'r', 'u', 'n', 0x00, 0x01,
    0x0a, 0x0b, 0x02,                                           /* two bodies */
    0x04, 0x00, 0x41, 0x00, 0x0b,                               /* i32.const 0 */
    0x04, 0x00, 0x42, 0x00, 0x0b,                               /* i64.const 0 */
};

static void fog_run(void *data) {
    struct objects *objects = data;
    fog_output *output;
    must(fog_fog_run(objects->fog, EMPTY_TASK, sizeof EMPTY_TASK, NULL, 0, NULL, &output));
    sink = fog_output_len(output);
    fog_output_free(output);
}

int main(int argc, char **argv) {
    is_short = argc > 1 && strcmp(argv[1], "--short") == 0;
    struct objects objects = {.state = {.device_class = FOG_DEVICE_CLASS_SERVER,
                                        .network = FOG_NETWORK_ETHERNET}};

    must(fog_sphinx_new(FOG_SPHINX_PAYLOAD_BYTES, &objects.sphinx));
    must(fog_private_key_generate(&objects.key));
    size_t capacity = fog_sphinx_packet_bytes(objects.sphinx);
    objects.packet = malloc(capacity);
    objects.out = malloc(capacity);
    uint8_t *payload = calloc(FOG_SPHINX_PAYLOAD_BYTES, 1);
    if (objects.packet == NULL || objects.out == NULL || payload == NULL) {
        return 1;
    }
    fog_hop hop = {.node = "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"};
    must(fog_private_key_public_key(objects.key, hop.key, sizeof hop.key));
    must(fog_sphinx_build(objects.sphinx, &hop, 1, payload, FOG_SPHINX_PAYLOAD_BYTES,
                          objects.packet, capacity, &objects.packet_len));
    must(fog_ledger_in_memory(&objects.ledger));
    must(fog_ledger_open_account(objects.ledger, ACCOUNT, FOG_ACCOUNT_KIND_ISSUER, NULL));
    must(fog_harvest_policy_default(&objects.policy));
    fog_fog_config config;
    must(fog_fog_config_default(&config));
    config.workers = 1;
    must(fog_fog_new(&config, &objects.fog));

    bench("noop", 5000000, noop, &objects);
    bench("version", 5000000, version, &objects);
    bench("sphinx_process_2k", 2000, sphinx_process, &objects);
    bench("ledger_balance", 500000, ledger_balance, &objects);
    bench("harvest_decide", 100000, harvest_decide, &objects);
    bench("callback", 100000, callback, &objects);
    bench("nsga2_1000_evaluations", 50, nsga2, &objects);
    bench("fog_run_blocking", 500, fog_run, &objects);

    fog_fog_free(objects.fog);
    fog_harvest_policy_free(objects.policy);
    fog_ledger_free(objects.ledger);
    fog_private_key_free(objects.key);
    fog_sphinx_free(objects.sphinx);
    free(objects.packet);
    free(objects.out);
    free(payload);
    return 0;
}
