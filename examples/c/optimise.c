/* How fast should processors run, and how many? Finds the compromises between time and energy.
 *
 *     cc optimise.c $(pkg-config --cflags --libs fogcompute) -o optimise
 */
#include <fogcompute.h>

#include <stdio.h>
#include <stdlib.h>

/* Ends the program when a call fails. */
static void must(fog_status status) {
    if (status != FOG_STATUS_OK) {
        fprintf(stderr, "%s: %s\n", fog_status_name(status), fog_last_error_message());
        exit(1);
    }
}

/* Work that must be done in 10 seconds: a generation at once, a row for each solution. */
static int32_t cluster(void *user_data, const double *genes, size_t count, size_t gene_count,
                       double *objectives, size_t objective_count, double *violations) {
    (void)user_data;
    for (size_t i = 0; i < count; i++) {
        double clock = genes[i * gene_count], nodes = genes[i * gene_count + 1];
        double seconds = 24 / (clock * nodes) + 0.2 * nodes;
        objectives[i * objective_count] = seconds;
        objectives[i * objective_count + 1] = nodes * (1 + clock * clock * clock) * seconds;
        violations[i] = seconds > 10 ? seconds - 10 : 0;
    }
    return 0;
}

static void print(const char *name, const fog_front *front, size_t index) {
    fog_individual found;
    must(fog_front_individual(front, index, &found));
    printf("%s: %.0f nodes at %.1f GHz, %.1f s, %.0f J\n", name, found.genes[1], found.genes[0],
           found.objectives[0], found.objectives[1]);
}

int main(void) {
    const fog_variable variables[] = {
        {.kind = FOG_VARIABLE_KIND_REAL, .low = 0.5, .high = 3.0},
        {.kind = FOG_VARIABLE_KIND_INTEGER, .integer_low = 1, .integer_high = 16},
    };
    const fog_problem problem = {
        .variables = variables, .variable_count = 2, .objective_count = 2, .evaluate = cluster};
    fog_search_config config;
    must(fog_search_config_default(&config));
    config.population = 40;
    config.generations = 100;

    fog_front *front;
    must(fog_minimize(&problem, &config, NULL, 0, 1, &front));
    print("fastest", front, 0);
    print("thriftiest", front, fog_front_size(front) - 1);
    fog_front_free(front);
    return 0;
}
