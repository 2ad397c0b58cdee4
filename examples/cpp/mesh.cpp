// Two peers of a mesh in this program, over TCP: alice writes to bob, and hears how far it came.
//
//     c++ -std=c++17 mesh.cpp $(pkg-config --cflags --libs fogcompute) -o mesh
//     ./mesh

#include <fogcompute.hpp>

#include <iostream>

namespace fc = fogcompute;

// The next event of this kind.
static fc::mesh_event until(const fc::mesh_node &node, fc::mesh_kind kind) {
    while (true) {
        const auto event = node.receive(std::chrono::minutes(1));
        if (!event) {
            throw std::runtime_error("nothing happens any more");
        }
        if (event->kind == kind) {
            return *event;
        }
    }
}

static void talk() {
    const fc::mesh_node alice("alice"), bob("bob");
    alice.connect(bob.listen());
    const auto joined = until(alice, fc::mesh_kind::peer_joined);
    const auto sent = alice.send_private(joined.peer, "hello");

    const auto message = until(bob, fc::mesh_kind::private_message);
    std::cout << "bob reads: " << message.text << '\n';
    bob.mark_read(message.peer, message.id);
    while (true) {
        const auto told = until(alice, fc::mesh_kind::delivery);
        if (told.id == sent && told.state == fc::delivery_state::read) {
            break;
        }
    }
    std::cout << "alice knows that he did\n";
}

int main() {
    try {
        talk();
    } catch (const std::exception &error) {
        std::cerr << error.what() << '\n';
        return 1;
    }
}
