// What one call costs from C++. Prints one JSON object per line.
//
// --short makes few calls: to see that it works, not to learn how long anything takes.

#include <fogcompute.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string_view>

namespace fc = fogcompute;

namespace {

constexpr std::size_t RUNS = 7;
bool is_short;

/// Where results go, so that no call can be left out.
volatile std::size_t sink;

/// Median over the runs of the mean time of `n` calls, that of the loop included.
template <class Call>
void bench(const char *name, std::size_t n, Call &&call) {
    using clock = std::chrono::steady_clock;
    std::array<double, RUNS> ns;
    if (is_short) {
        n = std::max<std::size_t>(1, n / 1000);
    }
    sink = call();
    for (auto &run : ns) {
        const auto start = clock::now();
        for (std::size_t i = 0; i < n; i++) {
            sink = call();
        }
        run = std::chrono::duration<double, std::nano>(clock::now() - start).count() /
              static_cast<double>(n);
    }
    std::sort(ns.begin(), ns.end());
    std::printf("{\"case\": \"%s\", \"ns\": %.1f, \"n\": %zu}\n", name, ns[RUNS / 2], n);
    std::fflush(stdout);
}

/// A module of the task ABI that returns nothing: `bench.c` says which byte is what.
const fc::bytes EMPTY_TASK{
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x0c, 0x02, 0x60, 0x01, 0x7f, 0x01,
    0x7f, 0x60, 0x02, 0x7f, 0x7f, 0x01, 0x7e, 0x03, 0x03, 0x02, 0x00, 0x01, 0x05, 0x03, 0x01,
    0x00, 0x01, 0x07, 0x20, 0x03, 0x06, 'm',  'e',  'm',  'o',  'r',  'y',  0x02, 0x00, 0x09,
    'f',  'o',  'g',  '_',  'a',  'l',  'l',  'o',  'c',  0x00, 0x00, 0x07, 'f',  'o',  'g',
    '_',  'r',  'u',  'n',  0x00, 0x01, 0x0a, 0x0b, 0x02, 0x04, 0x00, 0x41, 0x00, 0x0b, 0x04,
    0x00, 0x42, 0x00, 0x0b,
};

} // namespace

int main(int argc, char **argv) {
    is_short = argc > 1 && std::string_view(argv[1]) == "--short";

    const fc::sphinx sphinx;
    const auto key = fc::private_key::generate();
    std::string node;
    for (int i = 0; i < 32; i++) {
        node += "0a";
    }
    const auto packet = sphinx.build({{node, key.public_key(), {}}}, fc::bytes(2048));
    bench("noop", 5'000'000, [&] { return sphinx.packet_bytes(); });
    bench("version", 5'000'000, [] { return fc::version().size(); });
    bench("sphinx_process_2k", 2'000,
          [&] { return sphinx.process(key, packet).outcome.index(); });

    const auto ledger = fc::ledger::in_memory();
    const std::string account = "01010101010101010101010101010101";
    ledger.open_account(account, fc::account_kind::issuer);
    bench("ledger_balance", 500'000, [&] { return ledger.balance(account).size(); });

    const fc::harvest_policy policy;
    fc::device_state state;
    state.device_class = fc::device_class::server;
    state.network = fc::network::ethernet;
    bench("harvest_decide", 100'000, [&] { return policy.decide(state).reasons.size(); });
    const fc::battery_probe probe = [] { return fc::battery_absent{}; };
    bench("callback", 100'000,
          [&] { return policy.decide_with_probe(state, probe).reasons.size(); });

    const fc::problem identity{{fc::real{0, 1}}, 1, [](const std::vector<double> &genes) {
                                   return fc::evaluation{genes, 0};
                               }};
    fc::search_config config;
    config.population = 100;
    config.generations = 9;
    bench("nsga2_1000_evaluations", 50,
          [&] { return fc::minimize(identity, config).individuals.size(); });

    fc::fog_config one_worker;
    one_worker.workers = 1;
    const fc::fog fog(one_worker);
    bench("fog_run_blocking", 500, [&] { return fog.run(EMPTY_TASK, {}).output.size(); });
    bench("fog_submit_get", 500, [&] { return fog.submit(EMPTY_TASK, {}).get().output.size(); });
}
