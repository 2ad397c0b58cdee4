/* A mixnet of three mixnodes in this program, and two clients that talk through it: alice asks, and
 * bob answers without learning who asked.
 *
 *     cc mixnet.c $(pkg-config --cflags --libs fogcompute) -lpthread -o mixnet
 *     ./mixnet
 */
#include <fogcompute.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LAYERS = 3 };

static const uint64_t MINUTE_NS = 60000000000;

/* Ends the program when a call fails. */
static void must(fog_status status) {
    if (status != FOG_STATUS_OK) {
        fprintf(stderr, "%s: %s\n", fog_status_name(status), fog_last_error_message());
        exit(1);
    }
}

/* Waits for one question, and answers it. */
static void *answer_a_question(void *client) {
    const fog_mixnet_client *bob = client;
    fog_mixnet_message *question;
    must(fog_mixnet_client_receive(bob, MINUTE_NS, &question));
    if (question == NULL) {
        fprintf(stderr, "nobody asked\n");
        exit(1);
    }
    printf("bob is asked: %.*s\n", (int)fog_mixnet_message_len(question),
           (const char *)fog_mixnet_message_data(question));
    const char *answer = "it is bob";
    must(fog_mixnet_client_reply(bob, question, (const uint8_t *)answer, strlen(answer)));
    fog_mixnet_message_free(question);
    return NULL;
}

int main(void) {
    /* The mixnodes, one in each layer. They learn of each other by the topology. */
    fog_mixnet_node *nodes[LAYERS];
    fog_descriptor descriptors[LAYERS];
    fog_layer layers[LAYERS];
    for (size_t i = 0; i < LAYERS; i++) {
        must(fog_mixnet_node_start(NULL, &nodes[i]));
        must(fog_mixnet_node_descriptor(nodes[i], &descriptors[i]));
        layers[i] = (fog_layer){&descriptors[i], 1};
    }
    fog_topology *network;
    must(fog_topology_new(layers, LAYERS, NULL, &network));
    for (size_t i = 0; i < LAYERS; i++) {
        must(fog_mixnet_node_set_topology(nodes[i], network));
    }

    fog_mixnet_client *alice, *bob;
    must(fog_mixnet_client_start(network, NULL, &alice));
    must(fog_mixnet_client_start(network, NULL, &bob));

    pthread_t thread;
    if (pthread_create(&thread, NULL, answer_a_question, bob) != 0) {
        fprintf(stderr, "no thread\n");
        return 1;
    }
    fog_contact contact;
    must(fog_mixnet_client_contact(bob, &contact));
    const char *question = "who is there?";
    fog_mixnet_answer *answer;
    must(fog_mixnet_client_request(alice, contact.text, (const uint8_t *)question,
                                   strlen(question), 1000, MINUTE_NS, &answer));
    pthread_join(thread, NULL);
    printf("alice is told: %.*s\n", (int)fog_mixnet_answer_len(answer),
           (const char *)fog_mixnet_answer_data(answer));
    fog_mixnet_answer_free(answer);

    for (size_t i = 0; i < LAYERS; i++) {
        fog_engine_stats stats;
        must(fog_mixnet_node_stats(nodes[i], &stats));
        printf("mixnode %zu sent %llu packets on\n", i + 1,
               (unsigned long long)stats.mix.forwarded);
    }

    fog_mixnet_client_free(alice);
    fog_mixnet_client_free(bob);
    for (size_t i = 0; i < LAYERS; i++) {
        fog_mixnet_node_free(nodes[i]);
    }
    fog_topology_free(network);
    return 0;
}
