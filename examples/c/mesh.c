/* Two peers of a mesh in this program, over TCP: alice writes to bob, and hears how far it came.
 *
 *     cc -std=c11 mesh.c $(pkg-config --cflags --libs fogcompute) -o mesh
 *     ./mesh
 */
#include <fogcompute.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(fog_status status) {
    if (status != FOG_STATUS_OK) {
        fprintf(stderr, "%s: %s\n", fog_status_name(status), fog_last_error_message());
        exit(1);
    }
}

/* The next event of this kind; free it. Its parts are valid until then. */
static fog_mesh_event *until(const fog_mesh_node *node, fog_mesh_kind kind,
                             fog_mesh_event_parts *parts) {
    while (true) {
        fog_mesh_event *event = NULL;
        check(fog_mesh_node_receive(node, 60000000000, &event));
        if (event == NULL) {
            fprintf(stderr, "nothing happens any more\n");
            exit(1);
        }
        check(fog_mesh_event_read(event, parts));
        if (parts->kind == (int32_t)kind) {
            return event;
        }
        fog_mesh_event_free(event);
    }
}

int main(void) {
    fog_mesh_node *alice = NULL, *bob = NULL;
    check(fog_mesh_node_start("alice", NULL, &alice));
    check(fog_mesh_node_start("bob", NULL, &bob));
    fog_address address;
    check(fog_mesh_node_listen(bob, "127.0.0.1:0", &address));
    check(fog_mesh_node_connect(alice, address.text));

    fog_mesh_event_parts parts;
    fog_mesh_event *event = until(alice, FOG_MESH_KIND_PEER_JOINED, &parts);
    char *sent = NULL;
    check(fog_mesh_node_send_private(alice, parts.peer, "hello", &sent));
    fog_mesh_event_free(event);

    event = until(bob, FOG_MESH_KIND_PRIVATE, &parts);
    printf("bob reads: %s\n", parts.text);
    check(fog_mesh_node_mark_read(bob, parts.peer, parts.id));
    fog_mesh_event_free(event);

    bool is_read = false;
    while (!is_read) {
        event = until(alice, FOG_MESH_KIND_DELIVERY, &parts);
        is_read = strcmp(parts.id, sent) == 0 && parts.state == FOG_DELIVERY_STATE_READ;
        fog_mesh_event_free(event);
    }
    printf("alice knows that he did\n");

    fog_string_free(sent);
    fog_mesh_node_free(alice);
    fog_mesh_node_free(bob);
    return 0;
}
