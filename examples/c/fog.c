/* Opens a fog of three processes on this machine, kills one while it works, and gets every result.
 *
 *     cc -std=c11 fog.c $(pkg-config --cflags --libs fogcompute) -o fog
 *     ./fog ../wasm/words.wasm
 *
 * This process is the coordinator, the mixnode and who submits; it starts itself again as two nodes
 * that compute. Each node could as well be on another machine.
 */
/* Processes and folders are hidden by a strict C. */
#define _XOPEN_SOURCE 700

#include <fogcompute.h>

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NODES = 2, TEXTS = 20 };

static const uint64_t MINUTE_NS = UINT64_C(60000000000);

static void check(fog_status status) {
    if (status != FOG_STATUS_OK) {
        fprintf(stderr, "%s: %s\n", fog_status_name(status), fog_last_error_message());
        exit(1);
    }
}

/* For calls of the system. */
static void must(bool is_done, const char *what) {
    if (!is_done) {
        perror(what);
        exit(1);
    }
}

/* ---- a node that computes, in a process of its own ---- */

static void on_joined(void *user_data, fog_status status, const char *message) {
    (void)user_data;
    if (status != FOG_STATUS_OK) {
        fprintf(stderr, "%s: %s\n", fog_status_name(status), message);
        exit(1);
    }
    printf("joined\n");
    fflush(stdout);
}

/* Is a node until it is killed, or who started it is gone: then its input ends. */
static int compute(const char *coordinator, const char *coordinator_id, const char *data) {
    fog_harvest_policy *always = NULL;
    check(fog_harvest_policy_always(&always));
    fog_fog_node_config config;
    check(fog_fog_node_config_default(&config));
    config.policy = always;
    config.nodes_on_machine = NODES;
    fog_fog_node *node = NULL;
    check(fog_fog_node_start(coordinator, coordinator_id, data, &config, &node));
    fog_harvest_policy_free(always);
    check(fog_fog_node_joined(node, on_joined, NULL));
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    fog_fog_node_free(node);
    return 0;
}

/* ---- the coordinator, and who submits ---- */

extern char **environ;

struct nodes {
    pid_t processes[NODES];
    /* They live while this end is open, and say here that they have joined. */
    int alive, said;
};

static void make_pipe(int ends[2]) {
    must(pipe(ends) == 0, "pipe");
    for (int i = 0; i < 2; i++) {
        must(fcntl(ends[i], F_SETFD, FD_CLOEXEC) == 0, "fcntl");
    }
}

static struct nodes start_nodes(char *program, char *coordinator, char *id, const char *folder) {
    struct nodes nodes;
    int alive[2], said[2];
    make_pipe(alive);
    make_pipe(said);
    posix_spawn_file_actions_t actions;
    must(posix_spawn_file_actions_init(&actions) == 0 &&
             posix_spawn_file_actions_adddup2(&actions, alive[0], STDIN_FILENO) == 0 &&
             posix_spawn_file_actions_adddup2(&actions, said[1], STDOUT_FILENO) == 0,
         "posix_spawn_file_actions");
    for (int i = 0; i < NODES; i++) {
        char data[64];
        snprintf(data, sizeof data, "%s/node-%d", folder, i);
        char *arguments[] = {program, coordinator, id, data, NULL};
        must(posix_spawn(&nodes.processes[i], program, &actions, NULL, arguments, environ) == 0,
             "posix_spawn");
    }
    posix_spawn_file_actions_destroy(&actions);
    close(alive[0]);
    close(said[1]);
    nodes.alive = alive[1];
    nodes.said = said[0];
    return nodes;
}

static void wait_until_joined(const struct nodes *nodes) {
    char byte;
    for (int lines = 0; lines < NODES; lines += byte == '\n') {
        must(read(nodes->said, &byte, 1) == 1, "a node");
    }
}

static void kill_node(struct nodes *nodes, int which) {
    if (nodes->processes[which] > 0) {
        kill(nodes->processes[which], SIGKILL);
        waitpid(nodes->processes[which], NULL, 0);
        nodes->processes[which] = 0;
    }
}

static void end_nodes(struct nodes *nodes) {
    for (int i = 0; i < NODES; i++) {
        kill_node(nodes, i);
    }
    close(nodes->alive);
    close(nodes->said);
}

static size_t read_module(const char *path, uint8_t *module, size_t capacity) {
    FILE *file = fopen(path, "rb");
    must(file != NULL, path);
    const size_t len = fread(module, 1, capacity, file);
    fclose(file);
    return len;
}

/* Submits a text for each task, of 1, 2, 3 words and so on. */
static fog_fog_job submit(const fog_fog_client *client, const char *path) {
    static uint8_t module[1 << 20];
    const size_t module_len = read_module(path, module, sizeof module);
    static char text[4 * TEXTS + 1];
    fog_fog_input texts[TEXTS];
    for (size_t i = 0; i < TEXTS; i++) {
        strcat(text, "fog ");
        texts[i] = (fog_fog_input){(const uint8_t *)text, 4 * (i + 1)};
    }
    fog_fog_job job;
    check(fog_fog_client_submit(client, module, module_len, texts, TEXTS, NULL, &job));
    return job;
}

/* Watches until the job has ended, and kills a node as soon as a task has. */
static void watch(const fog_fog_client *client, struct nodes *nodes) {
    fog_fog_watch *watch = NULL;
    check(fog_fog_client_watch(client, 0, &watch));
    fog_fog_event event = {0};
    while (event.kind != FOG_FOG_EVENT_KIND_JOB_ENDED) {
        bool received = false;
        check(fog_fog_watch_receive(watch, MINUTE_NS, &event, &received));
        if (!received) {
            fprintf(stderr, "nothing happens any more\n");
            exit(1);
        }
        if (event.kind == FOG_FOG_EVENT_KIND_ENDED && nodes->processes[0] > 0) {
            kill_node(nodes, 0);
            printf("a process is killed\n");
        }
    }
    fog_fog_watch_free(watch);
}

/* How many texts were counted right. */
static int count_right(const fog_fog_client *client, const char *job) {
    fog_fog_task tasks[TEXTS];
    size_t len = 0;
    check(fog_fog_client_tasks(client, job, tasks, TEXTS, &len));
    int right = 0;
    for (size_t i = 0; i < len; i++) {
        fog_output *output = NULL;
        check(fog_fog_client_result(client, tasks[i].id, &output));
        /* Eight bytes, of which the first one is enough. */
        right += fog_output_len(output) == 8 && fog_output_data(output)[0] == i + 1;
        fog_output_free(output);
    }
    return right;
}

/* Nodes that compute get nothing more. */
static void drain(const fog_fog_client *client) {
    fog_fog_member members[1 + NODES];
    size_t len = 0;
    check(fog_fog_client_topology(client, members, 1 + NODES, &len));
    for (size_t i = 0; i < len; i++) {
        if (members[i].layer == -1) {
            check(fog_fog_client_drain(client, members[i].id));
        }
    }
    check(fog_fog_client_topology(client, members, 1 + NODES, &len));
    for (size_t i = 0; i < len; i++) {
        printf("%s is %s\n", members[i].kind, members[i].status);
    }
}

static int remove_entry(const char *path, const struct stat *found, int kind, struct FTW *walk) {
    (void)found, (void)kind, (void)walk;
    return remove(path);
}

static void run_fog(char *program, const char *module) {
    char folder[] = "/tmp/fogcompute-fog-XXXXXX", data[64];
    must(mkdtemp(folder) != NULL, "mkdtemp");
    fog_fog_coordinator *coordinator = NULL;
    snprintf(data, sizeof data, "%s/fog", folder);
    check(fog_fog_coordinator_start(data, NULL, &coordinator));
    fog_node_id id;
    char address[FOG_ADDRESS_SIZE];
    check(fog_fog_coordinator_whereabouts(coordinator, &id, address));
    struct nodes nodes = start_nodes(program, address, id.text, folder);

    fog_fog_node_config config;
    check(fog_fog_node_config_default(&config));
    config.layer = 0;
    fog_fog_node *mix = NULL;
    snprintf(data, sizeof data, "%s/mix", folder);
    check(fog_fog_node_start(address, id.text, data, &config, &mix));
    fog_fog_token_terms terms;
    check(fog_fog_token_terms_default(&terms));
    terms.actions = "submit,query,drain";
    char *token = NULL;
    check(fog_fog_coordinator_issue_token(coordinator, &terms, &token));
    fog_fog_client *client = NULL;
    check(fog_fog_client_new(token, 30000, &client));
    fog_string_free(token);

    wait_until_joined(&nodes);
    const fog_fog_job job = submit(client, module);
    printf("%d tasks in a fog of %d processes\n", (int)job.open, 1 + NODES);
    watch(client, &nodes);
    printf("%d texts were counted right\n", count_right(client, job.id));
    drain(client);

    end_nodes(&nodes);
    fog_fog_client_free(client);
    fog_fog_node_free(mix);
    fog_fog_coordinator_free(coordinator);
    nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

int main(int argc, char **argv) {
    if (argc == 4) {
        return compute(argv[1], argv[2], argv[3]);
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    run_fog(argv[0], argc > 1 ? argv[1] : "examples/wasm/words.wasm");
    return 0;
}
