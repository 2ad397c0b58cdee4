// Runs a WebAssembly task in a fog, pays for it, and sends a packet to oneself.
//
//     c++ -std=c++17 example.cpp $(pkg-config --cflags --libs fogcompute) -o example
//     ./example ../wasm/sum.wasm

#include <fogcompute.hpp>

#include <fstream>
#include <iostream>
#include <iterator>

namespace fc = fogcompute;

static void run_a_task(const fc::bytes &module) {
    const fc::fog fog;
    auto task = fog.submit(module, fc::bytes{1, 2, 39});
    const auto output = task.get().output;

    // sum.wasm answers with a 64-bit number, its lowest byte first.
    std::uint64_t sum = 0;
    for (auto byte = output.rbegin(); byte != output.rend(); ++byte) {
        sum = sum << 8 | *byte;
    }
    std::cout << "the sum is " << sum << '\n';
}

static void pay_with_credits() {
    const std::string mint = "000000000000000000000000000000a0";
    const std::string alice = "000000000000000000000000000000a1";
    const auto ledger = fc::ledger::in_memory();
    ledger.open_account(mint, fc::account_kind::issuer);
    ledger.open_account(alice, fc::account_kind::holder);
    // Under one identifier, a transfer happens once, however often it is asked for.
    ledger.transfer("00000000000000000000000000000001", mint, alice, "5000000000000000000");
    ledger.transfer("00000000000000000000000000000001", mint, alice, "5000000000000000000");
    // What is reserved cannot be spent elsewhere: 2 credits are promised, of which 1 is paid.
    const std::string promise = "00000000000000000000000000000002";
    ledger.reserve(promise, alice, mint, "2000000000000000000");
    ledger.post("00000000000000000000000000000003", promise, "1000000000000000000");
    std::cout << "alice has " << ledger.balance(alice) << " base units\n";
    for (const auto &entry : ledger.history(alice)) {
        std::cout << "entry " << entry.sequence << ": " << entry.kind << ' ' << entry.amount
                  << '\n';
    }
    try {
        ledger.transfer("00000000000000000000000000000004", alice, mint, "9000000000000000000");
    } catch (const fc::insufficient_funds &error) {
        std::cout << "but not more: " << error.what() << '\n';
    }
    // Stake on an operator earns its part of the rewards: 10 % are the operator's.
    const std::string node(64, '1');
    const auto economy = ledger.economy();
    economy.configure("00000000000000000000000000000005");
    economy.register_operator("00000000000000000000000000000006", node, alice, 100000);
    economy.bond("00000000000000000000000000000007", node, alice, "4000000000000000000");
    economy.reward("00000000000000000000000000000008", node, fc::purse_account_id("treasury"),
                   "1000000000000000000");
    const auto claimed = economy.claim("00000000000000000000000000000009", node, alice);
    std::cout << "alice claimed " << claimed.amount << " base units\n";
}

static void send_a_packet() {
    const fc::sphinx sphinx;
    const auto key = fc::private_key::generate();
    const fc::hop receiver{std::string(64, '1'), key.public_key(), std::chrono::seconds(0)};
    const auto packet = sphinx.build({receiver}, std::string("hello"));
    const auto processed = sphinx.process(key, packet);
    if (const auto *deliver = std::get_if<fc::deliver>(&processed.outcome)) {
        const std::string text(deliver->payload.begin(), deliver->payload.end());
        std::cout << "the packet says " << text << '\n';
    }
}

int main(int argc, char **argv) {
    std::ifstream file(argc == 2 ? argv[1] : "", std::ios::binary);
    if (!file) {
        std::cerr << "usage: " << argv[0] << " sum.wasm\n";
        return 2;
    }
    const fc::bytes module(std::istreambuf_iterator<char>(file), {});
    try {
        run_a_task(module);
        pay_with_credits();
        send_a_packet();
    } catch (const fc::error &error) {
        std::cerr << error.name() << ": " << error.what() << '\n';
        return 1;
    }
}
