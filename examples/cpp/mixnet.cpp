// A mixnet of three mixnodes in this program, and two clients that talk through it: alice asks, and
// bob answers without learning who asked.
//
//     c++ -std=c++17 mixnet.cpp $(pkg-config --cflags --libs fogcompute) -o mixnet
//     ./mixnet

#include <fogcompute.hpp>

#include <iostream>

namespace fc = fogcompute;
using std::chrono::minutes;

static std::string text(fc::bytes_view bytes) { return {bytes.begin(), bytes.end()}; }

static void talk() {
    // The mixnodes, one in each layer. They learn of each other by the topology.
    std::vector<fc::mixnet_node> nodes(3);
    std::vector<std::vector<fc::descriptor>> layers;
    for (const auto &node : nodes) {
        layers.push_back({node.descriptor()});
    }
    const fc::topology network(layers);
    for (const auto &node : nodes) {
        node.set_topology(network);
    }

    const fc::mixnet_client alice(network), bob(network);
    auto answer = alice.request_async(bob.contact(), std::string("who is there?"), 1000,
                                      minutes(1));
    if (const auto question = bob.receive(minutes(1))) {
        std::cout << "bob is asked: " << text(question->body()) << '\n';
        bob.reply(*question, std::string("it is bob"));
    }
    std::cout << "alice is told: " << text(answer.get()) << '\n';

    for (std::size_t i = 0; i < nodes.size(); i++) {
        std::cout << "mixnode " << i + 1 << " sent " << nodes[i].stats().mix.forwarded
                  << " packets on\n";
    }
}

int main() {
    try {
        talk();
    } catch (const fc::error &error) {
        std::cerr << error.name() << ": " << error.what() << '\n';
        return 1;
    }
}
