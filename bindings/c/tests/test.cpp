// The C++ wrapper against the shared vectors, and what only C++ can do wrong.
//
// usage: test_cpp REPOSITORY

#include <fogcompute.hpp>

#include <nlohmann/json.hpp>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <iostream>
#include <iterator>
#include <map>
#include <mutex>
#include <sstream>
#include <string_view>
#include <thread>
#if __cplusplus >= 202002L
#include <span>
#endif

using nlohmann::json;
namespace fc = fogcompute;

namespace {

std::string repository;
json shared;
int failures;

#define CHECK(condition)                                                                   \
    do {                                                                                   \
        if (!(condition)) {                                                                \
            std::printf("  %s:%d: %s\n", __FILE__, __LINE__, #condition);                  \
            failures++;                                                                    \
        }                                                                                  \
    } while (false)

/// The statement must throw exactly this exception.
#define THROWS(type, ...)                                                                  \
    do {                                                                                   \
        bool thrown = false;                                                               \
        try {                                                                              \
            __VA_ARGS__;                                                                   \
        } catch (const type &) {                                                           \
            thrown = true;                                                                 \
        }                                                                                  \
        CHECK(thrown && #type);                                                            \
    } while (false)

/// Runs a call that must end as the vectors say: with the error of `expected`, or without one.
/// Returns whether it gave a value.
template <class Call>
bool ends(const json &expected, Call &&call) {
    std::string code;
    try {
        call();
    } catch (const fc::error &error) {
        code = error.name();
        CHECK(error.what()[0] != '\0');
    }
    const std::string wanted = expected.value("error", "");
    if (code != wanted) {
        std::printf("  ended with '%s' instead of '%s'\n", code.c_str(), wanted.c_str());
        failures++;
    }
    return code.empty();
}

std::string read_file(const std::string &name) {
    std::ifstream file(repository + "/" + name, std::ios::binary);
    if (!file) {
        std::cerr << name << " cannot be read\n";
        std::exit(2);
    }
    return {std::istreambuf_iterator<char>(file), {}};
}

fc::bytes unhex(const json &text) {
    const auto digits = text.get<std::string>();
    fc::bytes bytes;
    for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
        bytes.push_back(static_cast<std::uint8_t>(std::stoi(digits.substr(i, 2), nullptr, 16)));
    }
    return bytes;
}

template <class Bytes>
std::string hex(const Bytes &bytes) {
    std::string digits;
    for (const std::uint8_t byte : bytes) {
        char two[3];
        std::snprintf(two, sizeof two, "%02x", byte);
        digits += two;
    }
    return digits;
}

// ---- basics -----------------------------------------------------------------------------------

void test_version() {
    CHECK(fc::version() == shared["version"]);
    CHECK(fc::version() == FOGCOMPUTE_VERSION);
}

/// Throws the exception of a code and says what came.
template <class Exception>
bool raises(fog_status code) {
    try {
        fc::detail::raise(code, "why");
    } catch (const Exception &error) {
        return error.code() == code && std::string(error.what()) == "why";
    } catch (...) {
    }
    return false;
}

void test_every_code_has_its_exception() {
    for (const auto &code : shared["error_codes"]) {
        const auto status = static_cast<fog_status>(code["code"].get<int>());
        try {
            fc::detail::raise(status, "why");
        } catch (const fc::error &error) {
            CHECK(error.code() == status);
            CHECK(error.name() == code["name"]);
            // Not the base itself: that is for codes this header does not know.
            CHECK(typeid(error) != typeid(fc::error));
        }
    }
    CHECK(raises<fc::insufficient_funds>(FOG_STATUS_INSUFFICIENT_FUNDS));
    CHECK(raises<fc::ledger_error>(FOG_STATUS_INSUFFICIENT_FUNDS));
    CHECK(raises<fc::packet_error>(FOG_STATUS_INVALID_ROUTE));
    CHECK(raises<fc::mixnet_error>(FOG_STATUS_INVALID_ROUTE));
    CHECK(raises<fc::mixnet_error>(FOG_STATUS_NO_ANSWER));
    CHECK(!raises<fc::packet_error>(FOG_STATUS_NOT_DELIVERED));
    CHECK(raises<fc::schedule_error>(FOG_STATUS_INFEASIBLE));
    CHECK(raises<fc::harvest_error>(FOG_STATUS_PROBE_FAILED));
    CHECK(raises<fc::task_error>(FOG_STATUS_TRAP));
    CHECK(raises<fc::storage_error>(FOG_STATUS_STORAGE_LOCKED));
    CHECK(raises<fc::error>(static_cast<fog_status>(4711)));
    CHECK(!raises<fc::ledger_error>(FOG_STATUS_TRAP));
}

void test_a_panic_becomes_an_exception() {
    try {
        fc::detail::check(fog_test_panic());
        CHECK(!"thrown");
    } catch (const fc::panic &error) {
        CHECK(error.code() == FOG_STATUS_PANIC);
        CHECK(std::string(error.what()).find("panic on purpose") != std::string::npos);
    }
}

void test_bytes_come_from_anything() {
    const auto size = [](fc::bytes_view view) { return view.size(); };
    CHECK(size(fc::bytes{1, 2, 3}) == 3);
    CHECK(size(std::string("four")) == 4);
    CHECK(size(std::string_view("fives")) == 5);
    CHECK(size(std::array<std::uint8_t, 2>{}) == 2);
    CHECK(size({}) == 0);
    CHECK(size({"pointer", 7}) == 7);
#if __cplusplus >= 202002L
    CHECK(size(std::span<const std::byte>()) == 0);
    const fc::bytes bytes{1, 2};
    CHECK(size(std::span<const std::uint8_t>(bytes)) == 2);
#endif
}

// ---- Sphinx -----------------------------------------------------------------------------------

std::vector<fc::hop> read_route(const json &route) {
    std::vector<fc::hop> hops;
    for (const auto &each : route) {
        fc::hop hop;
        hop.node = each["node"];
        const auto key = unhex(each["key"]);
        std::copy(key.begin(), key.end(), hop.key.begin());
        hop.delay = std::chrono::milliseconds(each["delay_ms"].get<int>());
        hops.push_back(hop);
    }
    return hops;
}

/// Follows a packet through all hops. Tags are compared for the packet of the vectors only.
void follow(const fc::sphinx &sphinx, const json &area, fc::bytes packet, bool is_own) {
    for (std::size_t i = 0; i < area["private_keys"].size(); i++) {
        const auto &hop = area["hops"].at(i);
        const auto key = fc::private_key::from_bytes(unhex(area["private_keys"][i]));
        const auto processed = sphinx.process(key, packet);
        CHECK(!is_own || hex(processed.replay_tag) == hop["replay_tag"]);
        if (const auto *forward = std::get_if<fc::forward>(&processed.outcome)) {
            CHECK(hop["kind"] == "forward");
            CHECK(forward->next == hop["next"]);
            CHECK(forward->delay == std::chrono::milliseconds(hop["delay_ms"].get<int>()));
            CHECK(!is_own || hex(forward->packet) == hop["packet"]);
            packet = forward->packet;
        } else if (const auto *deliver = std::get_if<fc::deliver>(&processed.outcome)) {
            CHECK(hop["kind"] == "deliver");
            CHECK(hex(deliver->payload) == hop["payload"]);
        } else {
            CHECK(hop["kind"] == "reply");
            const auto &reply = std::get<fc::reply>(processed.outcome);
            CHECK(reply.surb == hop["surb"]);
            CHECK(reply.sealed.size() > sphinx.payload_bytes());
        }
    }
}

void test_sphinx_packets_open_hop_by_hop() {
    std::vector<json> areas = shared["sphinx_more"];
    areas.push_back(shared["sphinx"]);
    for (const auto &area : areas) {
        const fc::sphinx sphinx(area["payload_bytes"].get<std::size_t>());
        CHECK(sphinx.payload_bytes() == area["payload_bytes"]);
        CHECK(sphinx.packet_bytes() == area["packet_bytes"]);
        follow(sphinx, area, unhex(area["packet"]), true);
        const auto route = read_route(area["route"]);
        follow(sphinx, area, sphinx.build(route, unhex(area["payload"])), false);
        for (const auto &refused : area["refused"]) {
            const auto key = fc::private_key::from_bytes(unhex(refused["private_key"]));
            ends(refused, [&] { sphinx.process(key, unhex(refused["packet"])); });
        }
        for (const auto &refused : area["refused_routes"]) {
            const auto bad = read_route(refused["route"]);
            ends(refused, [&] { sphinx.build(bad, unhex(refused["payload"])); });
        }
    }
    const auto &reply = shared["sphinx_reply"];
    const fc::sphinx sphinx(reply["payload_bytes"].get<std::size_t>());
    follow(sphinx, reply, unhex(reply["packet"]), true);
    THROWS(fc::invalid_argument, fc::sphinx(511));
    THROWS(fc::invalid_argument,
           sphinx.build({{"11", {}, std::chrono::nanoseconds(-1)}}, std::string("x")));
}

void test_private_keys() {
    const auto &area = shared["sphinx"];
    for (std::size_t i = 0; i < area["private_keys"].size(); i++) {
        const auto key = fc::private_key::from_bytes(unhex(area["private_keys"][i]));
        CHECK(hex(key.to_bytes()) == area["private_keys"][i]);
        CHECK(hex(key.public_key()) == area["public_keys"][i]);
    }
    THROWS(fc::invalid_argument, fc::private_key::from_bytes(std::string("short")));
    auto key = fc::private_key::generate();
    const auto secret = key.to_bytes();
    CHECK(fc::private_key::generate().to_bytes() != secret);
    const auto moved = std::move(key);
    CHECK(moved.to_bytes() == secret);
}

std::string text(fc::bytes_view bytes) { return {bytes.begin(), bytes.end()}; }

/// A new key and a hop with it.
std::pair<fc::private_key, fc::hop> key_and_hop(char digit) {
    auto key = fc::private_key::generate();
    fc::hop hop{std::string(64, digit), key.public_key(), std::chrono::milliseconds(3)};
    return {std::move(key), hop};
}

void test_a_batch_is_processed_in_place() {
    const fc::sphinx sphinx(1024, 5);
    CHECK(sphinx.hops_max() == 5 && sphinx.payload_bytes() == 1024);
    const auto [key, hop] = key_and_hop('1');
    const auto other = key_and_hop('2').second;
    const std::string first = "first", second = "second";
    auto packets = sphinx.build_batch(
        {{{hop}, first}, {{hop, other}, second}, {{hop}, second}, {{hop}, {}}});
    CHECK(packets.size() == 4 * sphinx.packet_bytes());
    packets[2 * sphinx.packet_bytes() + 40] ^= 1;
    auto before = packets;
    const auto results = sphinx.process_batch(key, packets);
    CHECK(results.size() == 4);
    const auto &delivered = std::get<fc::deliver_in_place>(results[0].outcome);
    CHECK(text(delivered.payload) == first);
    CHECK(delivered.payload.data() > packets.data() &&
          delivered.payload.end() <= packets.data() + sphinx.packet_bytes());
    const auto &forwarded = std::get<fc::forward_in_place>(results[1].outcome);
    CHECK(forwarded.next == std::string(16, '2') && forwarded.delay == hop.delay);
    CHECK(forwarded.packet.data() == packets.data() + sphinx.packet_bytes());
    CHECK(forwarded.packet.size() == sphinx.packet_bytes());
    const auto &refused = std::get<fc::refused>(results[2].outcome);
    CHECK(refused.code == FOG_STATUS_INVALID_PACKET);
    CHECK(std::string(refused.name()) == "InvalidPacket");
    CHECK(std::get<fc::deliver_in_place>(results[3].outcome).payload.size() == 0);
    const auto alone = sphinx.process(key, {before.data(), sphinx.packet_bytes()});
    CHECK(alone.replay_tag == results[0].replay_tag);
    THROWS(fc::invalid_packet, sphinx.process_batch(key, {packets.data(), 1}));
    CHECK(sphinx.process_batch(key, {}).empty() && sphinx.build_batch({}).empty());
    THROWS(fc::invalid_route, sphinx.build_batch({{{hop}, first}, {{}, second}}));
    THROWS(fc::payload_too_large, sphinx.build_batch({{{hop}, {before.data(), 1025}}}));
    THROWS(fc::invalid_argument, fc::sphinx(1024, 8));
}

void test_a_reply_block_brings_a_reply_back() {
    const fc::sphinx sphinx;
    const auto [key, hop] = key_and_hop('1');
    const auto surb = sphinx.make_surb({hop});
    const auto other = sphinx.make_surb({hop});
    CHECK(surb.block.size() == sphinx.surb_bytes());
    auto [next, packet] = sphinx.reply(surb.block, std::string("answer"));
    CHECK(next == std::string(16, '1'));
    const auto processed = sphinx.process(key, packet);
    const auto &reply = std::get<fc::reply>(processed.outcome);
    CHECK(reply.surb == surb.key.id() && reply.surb != other.key.id());
    CHECK(text(sphinx.open_reply(surb.key, reply.sealed)) == "answer");
    THROWS(fc::invalid_reply_block, sphinx.open_reply(other.key, reply.sealed));
    THROWS(fc::invalid_reply_block, sphinx.open_reply(surb.key, {}));
    THROWS(fc::invalid_reply_block, sphinx.reply(std::string("none"), {}));
    const auto results = sphinx.process_batch(key, packet);
    const auto &in_place = std::get<fc::reply_in_place>(results.at(0).outcome);
    CHECK(in_place.surb == surb.key.id());
    CHECK(text(sphinx.open_reply(surb.key, in_place.sealed)) == "answer");
}

void test_a_processor_takes_a_packet_once() {
    const fc::sphinx sphinx;
    const auto [key, hop] = key_and_hop('1');
    const fc::sphinx_processor processor(sphinx, key, 1000);
    CHECK(processor.public_key() == hop.key);
    auto packet = sphinx.build({hop}, std::string("once"));
    CHECK(text(std::get<fc::deliver>(processor.process(packet).outcome).payload) == "once");
    THROWS(fc::replayed, processor.process(packet));
    const auto results = processor.process_batch(packet);
    CHECK(std::get<fc::refused>(results.at(0).outcome).code == FOG_STATUS_REPLAYED);
    // Of threads that process one packet, one succeeds.
    const auto contested = sphinx.build({hop}, std::string("mine"));
    std::atomic<int> successes{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++) {
        threads.emplace_back([&] {
            try {
                processor.process(contested);
                successes++;
            } catch (const fc::replayed &) {
            }
        });
    }
    for (auto &thread : threads) {
        thread.join();
    }
    CHECK(successes == 1);
    const auto stats = processor.stats();
    CHECK(stats.received == 7 && stats.delivered == 2 && stats.replayed == 5);
}

// ---- optimisation -----------------------------------------------------------------------------

fc::evaluation schaffer(const std::vector<double> &genes) {
    const double x = genes.at(0);
    return {{x * x, (x - 2.0) * (x - 2.0)}, 0};
}

fc::evaluation mixed(const std::vector<double> &genes) {
    const double x = genes.at(0), n = genes.at(1), c = genes.at(2);
    return {{x + n + c, (x - 3.0) * (x - 3.0) + (n - 2.0) * (n - 2.0) + (c - 3.0) * (c - 3.0)},
            x < 1.0 ? 1.0 - x : 0.0};
}

fc::nsga2_config read_config(const json &area) {
    fc::nsga2_config config;
    config.population = area["population"];
    config.generations = area["generations"];
    return config;
}

fc::search_config read_search_config(const json &area) {
    fc::search_config config;
    config.population = area["population"];
    config.generations = area["generations"];
    return config;
}

void same_front(const fc::front &front, const json &area) {
    CHECK(front.individuals.size() == area["front_size"]);
    CHECK(front.evaluations == area["evaluations"]);
    CHECK(front.generations == area["generations"]);
    for (std::size_t i = 0; i < front.individuals.size(); i++) {
        CHECK(front.individuals[i].genes == area["individuals"].at(i)["genes"]);
        CHECK(front.individuals[i].objectives == area["individuals"].at(i)["objectives"]);
    }
}

fc::front run_schaffer(const json &area) {
    const fc::real x{area["low"], area["high"]};
    return fc::minimize({{x}, 2, schaffer}, read_search_config(area), {}, area["seed"]);
}

void test_minimize_finds_the_same_fronts() {
    same_front(run_schaffer(shared["nsga2"]), shared["nsga2"]);
    for (const auto &refused : shared["nsga2"]["refused"]) {
        ends(refused, [&] { run_schaffer(refused); });
    }
    const fc::problem problem{{fc::real{0, 5}, fc::integer{-3, 3}, fc::choice{4}}, 2, mixed};
    for (const auto &area : shared["nsga2_more"]) {
        same_front(fc::minimize(problem, read_search_config(area), {}, area["seed"]), area);
    }
}

struct host_error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

void test_minimize_rethrows_what_the_callback_throws() {
    int calls = 0;
    fc::problem problem{{fc::real{0, 1}}, 2, [&](const auto &) -> fc::evaluation {
                            calls++;
                            throw host_error("the host's own");
                        }};
    try {
        fc::minimize(problem);
        CHECK(!"thrown");
    } catch (const host_error &error) {
        CHECK(std::string(error.what()) == "the host's own");
    }
    CHECK(calls == 1);
    problem.evaluate = [](const auto &) -> fc::evaluation { throw 7; };
    THROWS(int, fc::minimize(problem));
    problem.evaluate = [](const auto &) { return fc::evaluation{{1.0}, 0}; };
    THROWS(fc::invalid_problem, fc::minimize(problem));
    problem.evaluate = [](const auto &) { return fc::evaluation{{1.0, 1.0 / 0.0}, 0}; };
    THROWS(fc::not_finite, fc::minimize(problem));
    problem.evaluate = nullptr;
    THROWS(fc::invalid_argument, fc::minimize(problem));
}

void test_minimize_takes_first_genomes() {
    fc::search_config config;
    config.population = 4;
    config.generations = 0;
    const fc::problem problem{{fc::real{-10, 10}}, 2, schaffer};
    const auto front = fc::minimize(problem, config, {{0.0}, {2.0}}, 1);
    CHECK(front.individuals.front().genes == std::vector<double>{0.0});
    THROWS(fc::invalid_problem, fc::minimize(problem, config, {{0.0, 1.0}}, 1));
    THROWS(fc::invalid_problem, fc::minimize(problem, config, {{11.0}}, 1));
    config.mutation_probability = 2.0;
    THROWS(fc::invalid_problem, fc::minimize(problem, config));
}

void same_individuals(const fc::front &ours, const fc::front &theirs) {
    CHECK(ours.individuals.size() == theirs.individuals.size());
    for (std::size_t i = 0; i < ours.individuals.size(); i++) {
        CHECK(ours.individuals[i].genes == theirs.individuals[i].genes);
        CHECK(ours.individuals[i].objectives == theirs.individuals[i].objectives);
    }
}

void test_generations_are_evaluated_at_once_and_saved() {
    int calls = 0;
    const auto all = [&](const fc::generation &all) {
        calls++;
        for (std::size_t i = 0; i < all.count; i++) {
            const double x = all.genes[i * all.gene_count];
            all.objectives[2 * i] = x * x;
            all.objectives[2 * i + 1] = (x - 2.0) * (x - 2.0);
        }
    };
    fc::problem problem{{fc::real{-10, 10}}, 2, nullptr, all};
    const fc::problem single{{fc::real{-10, 10}}, 2, schaffer};
    fc::search_config config;
    config.population = 12;
    config.generations = 9;
    using selection = decltype(config.selection);
    const selection choices[] = {fc::crowding{},
                                 fc::directions{fc::reference_directions(2, 11)},
                                 fc::by_hypervolume{}};
    for (const auto &choice : choices) {
        config.selection = choice;
        const auto whole = fc::minimize(single, config, {}, 3);
        calls = 0;
        fc::search search(problem, config, {}, 3);
        search.step();
        CHECK(calls == 2 && search.population().generation == 1);
        auto resumed = fc::search::resume(problem, config, search.save());
        while (resumed.ended() == fc::ended::not_yet) {
            resumed.step();
        }
        CHECK(resumed.ended() == fc::ended::generations);
        same_individuals(resumed.front(), whole);
    }
    THROWS(fc::invalid_problem, fc::search::resume(problem, config, {1, 2, 3}));
    config.selection = fc::directions{{{1.0}}};
    THROWS(fc::invalid_problem, fc::minimize(problem, config));
    config = fc::search_config();
    config.stagnation = fc::stagnation{20, 0.01};
    config.evaluations_max = 100'000;
    problem.evaluate_all = [](const fc::generation &) { throw host_error("all"); };
    THROWS(host_error, fc::minimize(problem, config));
    fc::problem order{{}, 1, [](const std::vector<double> &genes) {
                          return fc::evaluation{{genes.at(0) + 2 * genes.at(1)}, 0};
                      }};
    order.permutation = 3;
    const auto best = fc::minimize(order, config).individuals.at(0).genes;
    CHECK(best == (std::vector<double>{1, 0, 2}));
}

void test_fronts_are_measured() {
    const std::vector<double> front{0, 1, 0.5, 0.5, 1, 0}, ends{0, 1, 1, 0};
    CHECK(fc::non_dominated_sort({1, 2, 2, 1, 2, 2}, 2) == (std::vector<std::uint32_t>{0, 0, 1}));
    CHECK(fc::hypervolume(front, {2, 2}) == 3.25);
    CHECK(fc::igd(front, front, 2) == 0 && fc::igd_plus({0, 2}, {0, 1}, 2) == 1);
    CHECK(fc::spacing(front, 2) == 0 && fc::spread(front, ends, 2) == 0);
    THROWS(fc::invalid_argument, fc::non_dominated_sort({1, 2, 3}, 2));
    THROWS(fc::invalid_argument, fc::hypervolume({}, {}));
    THROWS(fc::invalid_argument, fc::reference_directions(0, 1));
    CHECK(fc::reference_directions(3, 12).size() == 91);
}

// ---- placement --------------------------------------------------------------------------------

/// What the vectors call T.
template <class T>
T named(const std::vector<std::string> &names, const json &name) {
    const auto found = std::find(names.begin(), names.end(), name.get<std::string>());
    return static_cast<T>(found - names.begin());
}

fc::domain domain_named(const json &name) {
    return named<fc::domain>({"node", "zone", "region", "operator"}, name);
}

template <class T>
void read(std::optional<T> &value, const json &item) {
    if (!item.is_null()) {
        value = item.get<T>();
    }
}

/// A batch as the vectors give it.
struct batch {
    std::vector<fc::job> jobs;
    std::vector<fc::node> nodes;
    fc::sharing sharing;
    fc::strategy strategy;
    fc::nsga2_config config;
    fc::preference preference;
    std::uint64_t seed;

    batch(const json &area, const json &items)
        : sharing(area["sharing"] == "queued" ? fc::sharing::queued : fc::sharing::concurrent),
          strategy(named<fc::strategy>({"nsga_ii", "latency_first", "load_balance", "trust_first",
                                        "cost_optimize", "round_robin", "bin_pack",
                                        "topology_spread"},
                                       area["strategy"])),
          config(read_config(area)), seed(area["seed"]) {
        for (const auto &item : items) {
            jobs.push_back(job(item));
        }
        for (const auto &item : area["nodes"]) {
            nodes.push_back(node(item));
        }
        if (area["preference"].contains("weights")) {
            preference = fc::weights{area["preference"]["weights"]};
        } else if (area["preference"].contains("lexicographic")) {
            preference = fc::lexicographic{area["preference"]["lexicographic"]};
        }
    }

    static fc::job job(const json &item) {
        using texts = std::vector<std::string>;
        fc::job job;
        job.id = item["id"];
        job.cpu_millis = item["cpu_millis"];
        job.memory_bytes = item["memory_bytes"];
        job.duration_ms = item["duration_ms"];
        job.priority = named<fc::priority>({"critical", "high", "normal", "low", "bulk"},
                                           item["priority"]);
        job.min_trust = item["min_trust"];
        read(job.max_cost, item["max_cost"]);
        read(job.max_latency_ms, item["max_latency_ms"]);
        job.excluded = item["excluded"].get<texts>();
        job.disk_bytes = item["disk_bytes"];
        job.gpus = item["gpus"];
        job.bandwidth_bps = item["bandwidth_bps"];
        job.input_bytes = item["input_bytes"];
        job.input_on = item["input_on"].get<texts>();
        read(job.max_price, item["max_price"]);
        read(job.deadline_ms, item["deadline_ms"]);
        job.regions = item["regions"].get<texts>();
        job.tier = named<fc::tier>({"bronze", "silver", "gold", "platinum"}, item["tier"]);
        job.affinity = item["affinity"].get<texts>();
        job.anti_affinity = item["anti_affinity"].get<texts>();
        if (!item["spread"].is_null()) {
            const auto &bound = item["spread"];
            job.spread =
                fc::job_spread{bound["group"], domain_named(bound["over"]), bound["most"]};
        }
        read(job.gang, item["gang"]);
        read(job.replicas, item["replicas"]);
        job.preemptible = item["preemptible"];
        return job;
    }

    static fc::node node(const json &item) {
        fc::node node;
        node.id = item["id"];
        node.cpu_millis_free = item["cpu_millis_free"];
        node.cpu_millis_total = item["cpu_millis_total"];
        node.memory_bytes_free = item["memory_bytes_free"];
        node.speed = item["speed"];
        node.latency_ms = item["latency_ms"];
        node.trust = item["trust"];
        node.price_per_cpu_second = item["price_per_cpu_second"];
        node.disk_bytes_free = item["disk_bytes_free"];
        node.gpus_free = item["gpus_free"];
        node.bandwidth_bps_free = item["bandwidth_bps_free"];
        read(node.ask_per_cpu_second, item["ask_per_cpu_second"]);
        node.region = item["region"];
        node.zone = item["zone"];
        node.operator_name = item["operator"];
        read(node.availability, item["availability"]);
        read(node.error_rate, item["error_rate"]);
        return node;
    }

    fc::plan place() const {
        return fc::place(jobs, nodes, sharing, config, preference, seed, strategy);
    }
};

void same_plan(const fc::plan &plan, const json &area) {
    const auto &chosen = area["chosen"];
    CHECK(plan.front.size() == area["front_size"]);
    CHECK(plan.chosen_index == area["chosen_index"]);
    CHECK(plan.explanation == area["explanation"]);
    CHECK(plan.chosen().cost == chosen["cost"]);
    CHECK(plan.chosen().price == chosen["price"]);
    CHECK(json(plan.chosen().objectives) == chosen["objectives"]);
    json assignment = json::array();
    for (const auto &placed : plan.chosen().assignment) {
        assignment.push_back({placed.job, placed.node});
    }
    CHECK(assignment == chosen["assignment"]);
}

void test_placement_chooses_the_same_plans() {
    std::vector<json> areas = shared["place_more"];
    areas.push_back(shared["place"]);
    for (const auto &area : areas) {
        fc::plan plan;
        if (ends(area, [&] { plan = batch(area, area["jobs"]).place(); })) {
            same_plan(plan, area);
        }
    }
    const auto &infeasible = shared["place"]["infeasible"];
    ends(infeasible, [&] { batch(shared["place"], infeasible["jobs"]).place(); });
}

/// The names of the constraints, in their order.
const std::vector<std::string> constraint_names{
    "excluded", "trust", "latency",   "cost",   "cpu",   "memory",   "run_time",
    "disk",     "gpu",   "bandwidth", "region", "price", "deadline", "tier_latency",
    "tier_availability", "tier_errors"};

/// The rule as the vectors write it.
json written(const fc::rule &rule) {
    const std::vector<std::string> domains{"node", "zone", "region", "operator"};
    const auto domain = [&](fc::domain over) { return domains[static_cast<std::size_t>(over)]; };
    if (const auto *replicas = std::get_if<fc::distinct_replicas>(&rule)) {
        return {{"replicas", domain(replicas->over)}};
    }
    if (const auto *spread = std::get_if<fc::job_spread>(&rule)) {
        return {{"spread",
                 {{"group", spread->group},
                  {"over", domain(spread->over)},
                  {"most", spread->most}}}};
    }
    if (const auto *capacity = std::get_if<fc::capacity>(&rule)) {
        return {{"capacity", constraint_names[static_cast<std::size_t>(capacity->of)]}};
    }
    return "anti_affinity";
}

/// The reason as the vectors write it.
json written(const fc::left_out &left) {
    if (const auto *why = std::get_if<fc::no_node>(&left.reason)) {
        std::vector<std::uint32_t> counts(FOG_CONSTRAINT_COUNT);
        for (const auto &[constraint, count] : why->removed_by) {
            counts[static_cast<std::size_t>(constraint)] = count;
        }
        std::vector<std::string> fails;
        for (const auto constraint : why->nearest_fails) {
            fails.push_back(constraint_names[static_cast<std::size_t>(constraint)]);
        }
        return {{"no_node",
                 {{"removed_by", counts}, {"nearest", why->nearest}, {"nearest_fails", fails}}}};
    }
    if (const auto *why = std::get_if<fc::no_common_node>(&left.reason)) {
        return {{"no_common_node", {{"jobs", why->jobs}, {"shared", why->shared}}}};
    }
    if (const auto *why = std::get_if<fc::no_room>(&left.reason)) {
        const json lacks{{"cpu_millis", why->lacks.cpu_millis},
                         {"memory_bytes", why->lacks.memory_bytes},
                         {"disk_bytes", why->lacks.disk_bytes},
                         {"gpus", why->lacks.gpus},
                         {"bandwidth_bps", why->lacks.bandwidth_bps}};
        return {{"no_room", {{"node", why->node}, {"lacks", lacks}}}};
    }
    if (const auto *why = std::get_if<fc::late>(&left.reason)) {
        return {{"late", {{"late_ms", why->late_ms}}}};
    }
    if (const auto *why = std::get_if<fc::goes_with>(&left.reason)) {
        return {{"with", why->job}};
    }
    json rules = json::array();
    for (const auto &rule : std::get<fc::crowded>(left.reason).rules) {
        rules.push_back(written(rule));
    }
    return {{"crowded", {{"rules", rules}}}};
}

void test_placement_leaves_out_the_same_jobs() {
    for (const auto &area : shared["place_what_fits"]) {
        const batch given(area, area["jobs"]);
        if (given.strategy != fc::strategy::nsga_ii) {
            continue; // Only that leaves out jobs, so there is no argument to say another.
        }
        fc::partial_plan partial;
        const auto place = [&] {
            partial = fc::place_what_fits(given.jobs, given.nodes, given.sharing, given.config,
                                          given.preference, given.seed);
        };
        if (!ends(area, place)) {
            continue;
        }
        CHECK(partial.plan.has_value() == area.contains("chosen"));
        if (partial.plan) {
            same_plan(*partial.plan, area);
        }
        json left_out = json::array();
        for (const auto &left : partial.left_out) {
            left_out.push_back(
                {{"job", left.job}, {"reason", written(left)}, {"text", left.explanation}});
        }
        CHECK(left_out == area["left_out"]);
    }
}

void test_tiers_have_the_same_terms() {
    for (const auto &area : shared["tiers"]) {
        const auto tier =
            named<fc::tier>({"bronze", "silver", "gold", "platinum"}, area["tier"]);
        const auto terms = fc::terms_of(tier);
        CHECK(terms.replicas == area["replicas"]);
        std::vector<fc::domain> distinct;
        for (const auto &name : area["distinct"]) {
            distinct.push_back(domain_named(name));
        }
        CHECK(terms.distinct == distinct);
        CHECK(terms.latency_ms_p95 == area["latency_ms_p95"]);
        CHECK(terms.availability == area["availability"]);
        CHECK(terms.error_rate == area["error_rate"]);
        std::optional<std::uint64_t> notice_ms;
        read(notice_ms, area["preemption_notice_ms"]);
        CHECK(terms.preemption_notice_ms == notice_ms);
        CHECK(terms.price_permille == area["price_permille"]);
    }
    THROWS(fc::invalid_argument, fc::terms_of(static_cast<fc::tier>(4)));
}

// ---- ledger -----------------------------------------------------------------------------------

fc::receipt run_step(const fc::ledger &ledger, const json &step) {
    const std::string op = step["op"];
    if (op == "open") {
        return ledger.open_account(step["account"], step["kind"] == "issuer"
                                                        ? fc::account_kind::issuer
                                                        : fc::account_kind::holder);
    }
    if (op == "transfer") {
        return ledger.transfer(step["id"], step["from"], step["to"], step["amount"]);
    }
    if (op == "reserve") {
        return ledger.reserve(step["id"], step["from"], step["to"], step["amount"]);
    }
    if (op == "post") {
        std::optional<std::string> amount;
        if (!step["amount"].is_null()) {
            amount = step["amount"].get<std::string>();
        }
        return ledger.post(step["id"], step["reservation"], amount);
    }
    CHECK(op == "void");
    return ledger.void_(step["id"], step["reservation"]);
}

void test_the_ledger_takes_the_same_steps() {
    const auto &area = shared["ledger"];
    const auto ledger = fc::ledger::in_memory();
    for (const auto &step : area["steps"]) {
        fc::receipt receipt;
        if (ends(step, [&] { receipt = run_step(ledger, step); })) {
            CHECK(receipt.replayed == step["replayed"]);
            CHECK(receipt.sequence == step["sequence"]);
        }
    }
    for (const auto &[id, balance] : area["balances"].items()) {
        CHECK(ledger.balance(id) == balance);
    }
    for (const auto &item : area["accounts"]) {
        const auto account = ledger.account(item["account"]);
        CHECK(account.id == item["account"]);
        CHECK((account.kind == fc::account_kind::issuer) == (item["kind"] == "issuer"));
        CHECK(account.available == item["available"]);
        CHECK(ledger.available(account.id) == account.available);
        CHECK(account.credits_posted == item["credits_posted"]);
        CHECK(account.debits_posted == item["debits_posted"]);
        CHECK(account.credits_pending == item["credits_pending"]);
        CHECK(account.debits_pending == item["debits_pending"]);
    }
    const auto &unknown = area["unknown_account"];
    ends(unknown, [&] { static_cast<void>(ledger.balance(unknown["account"])); });
    const auto verified = ledger.verify();
    CHECK(verified.entries == area["verify"]["entries"]);
    CHECK(verified.accounts == area["verify"]["accounts"]);
    CHECK(verified.open_reservations == area["verify"]["open_reservations"]);
    THROWS(fc::storage_no_folder, fc::ledger::open("/nowhere/ledger.sqlite"));
    THROWS(fc::storage_missing, fc::ledger::open_existing("/no-such-ledger.sqlite"));
    THROWS(fc::insufficient_funds,
           ledger.transfer(std::string(32, 'f'), area["accounts"][1]["account"],
                           area["accounts"][2]["account"], "99999999999999999999999"));
}

void test_batches_history_and_signatures_go_through_the_wrapper() {
    const auto ledger = fc::ledger::in_memory();
    const std::string mint(32, 'a'), ana(32, 'b'), ben(32, 'c');
    const auto id = [](char digit) { return std::string(32, digit); };
    fc::key_bytes secret{};
    secret[0] = 7;
    const auto key = fc::owner_key(secret);
    fc::batch batch;
    batch.open_account(mint, fc::account_kind::issuer)
        .open_account(ana, fc::account_kind::holder)
        .open_account(ben, fc::account_kind::holder)
        .limit(id('1'), mint, {"100", true, std::nullopt})
        .own(id('2'), ana, key)
        .transfer(id('3'), mint, ana, "10", {7, {1, 2, 3}})
        .reserve(id('4'), ana, ben, "5", 4102444800000)
        .post(id('5'), id('4'), "2")
        .reserve(id('6'), ana, ben, "1")
        .void_(id('7'), id('6'));
    const auto receipts = ledger.execute(batch);
    CHECK(receipts.size() == batch.size());
    CHECK(receipts.back().sequence == 10 && !receipts.back().replayed);

    const auto history = ledger.history(ben);
    CHECK(history.size() == 5);
    CHECK(history[0].kind == "opened" && history[0].account_kind == fc::account_kind::holder);
    CHECK(history[2].kind == "posted" && history[2].released == "3");
    CHECK(history[2].reservation == id('4'));
    CHECK(ledger.history(ben, history[2].sequence, 1).at(0).sequence == history[3].sequence);
    const auto entry = ledger.entry(id('3'));
    CHECK(entry && entry->memo.code == 7 && entry->memo.reference[1] == 2);
    CHECK(!ledger.entry(id('9')));
    CHECK(ledger.entries(9).at(0).chain == ledger.head().chain);
    CHECK(ledger.accounts().size() == 3 && ledger.accounts(ana).at(0).id == ben);
    CHECK(ledger.accounts(std::nullopt, 1).at(0).limits.max_supply == "100");
    CHECK(ledger.owner(ana) == key && !ledger.owner(ben));
    CHECK(ledger.balance_as_of(ana, 6)->balance == "10" && !ledger.balance_as_of(ana, 1));
    CHECK(ledger.balance_as_of_time(ana, 4102444800000)->balance == "8");
    CHECK(ledger.supply() == "10" && ledger.expire() == 0);

    batch.clear();
    batch.transfer(id('8'), ana, ben, "1");
    const auto signed_batch = batch.sign(ana, ledger.next_nonce(ana), 4102444800000, secret);
    ledger.execute_signed(signed_batch);
    THROWS(fc::signature_replayed, ledger.execute_signed(signed_batch));
    CHECK(batch.message(ana, 2, 4102444800000).size() == 77);
    const auto signed_checkpoint = ledger.checkpoint(secret);
    CHECK(fc::verify_checkpoint(signed_checkpoint, key).head.sequence == 12);
    CHECK(ledger.verify_since(signed_checkpoint, key).entries == 12);
    THROWS(fc::checkpoint_forged, fc::verify_checkpoint(signed_checkpoint, secret));
    THROWS(fc::supply_exceeded, ledger.transfer(id('d'), mint, ana, "91"));
    THROWS(fc::account_in_use, ledger.close_account(id('d'), ana));
    ledger.limit(id('e'), ana, {std::nullopt, false, "1"});
    THROWS(fc::quota_exceeded, ledger.transfer(id('d'), ana, ben, "1"));
    THROWS(fc::invalid_argument,
           ledger.limit(id('f'), ana, {std::string(99, '1'), false, std::nullopt}));
    ledger.check_integrity();
    ledger.snapshot();
}

void test_an_economy_goes_through_the_wrapper() {
    constexpr std::uint64_t day = 86400000, start = 20000 * day;
    const auto ledger = fc::ledger::in_memory();
    const auto economy = ledger.economy();
    const std::string ana(32, 'a'), ben(32, 'b'), node(64, '1'), other(64, '2');
    auto next = [n = 0]() mutable {
        const auto digits = std::to_string(++n);
        return std::string(32 - digits.size(), '0') + digits;
    };
    const auto credits = [](int n) { return std::to_string(n) + std::string(18, '0'); };
    const auto treasury = fc::purse_account_id("treasury");
    THROWS(fc::no_economy, economy.unjail(next(), node));
    CHECK(!economy.rules() && economy.parameters().empty());
    ledger.set_time(start);
    CHECK(economy.configure(next(), fc::default_economy_rules()).event == "configured");
    CHECK(json::parse(economy.rules().value()) == json::parse(fc::default_economy_rules()));
    ledger.open_account(ana, fc::account_kind::holder);
    ledger.open_account(ben, fc::account_kind::holder);
    ledger.transfer(next(), treasury, ben, credits(1000));
    economy.register_operator(next(), node, ana, 100000);
    economy.register_operator(next(), other, ana, 100000);

    const auto bond = next();
    CHECK(economy.bond(bond, node, ben, credits(1000)).amount == credits(1000));
    CHECK(economy.bond(bond, node, ben, credits(1000)).replayed);
    CHECK(economy.receipt(bond)->event == "bonded" && !economy.receipt(next()));
    CHECK(economy.reward(next(), node, treasury, credits(100)).commission == credits(10));
    CHECK(economy.stake(node, ben).claimable == credits(90));
    CHECK(economy.claim(next(), node, ben).amount == credits(90));
    CHECK(economy.claim_commission(next(), node).amount == credits(10));
    ledger.set_time(start + day);
    const auto slashed = economy.slash(next(), node, fc::evidence::invalid_result, start + 1,
                                       credits(1000));
    CHECK(slashed.insured == credits(5) && slashed.jailed_until_unix_ms == start + 2 * day);
    CHECK(economy.operator_of(node)->jailed_until_unix_ms == start + 2 * day);
    CHECK(!economy.operator_of(std::string(64, '3')));
    THROWS(fc::jailed, economy.bond(next(), node, ben, "1"));
    CHECK(economy.pay_insurance(next(), next(), ben, credits(5)).event == "insurance_paid");
    ledger.set_time(start + 2 * day);
    economy.unjail(next(), node);
    economy.set_commission(next(), node, 110000);
    CHECK(economy.redelegate(next(), ben, node, other, credits(90)).entry == 1);
    const auto left = economy.unbond(next(), node, ben);
    economy.cancel_unbonding(next(), node, ben, left.entry, credits(100));
    CHECK(economy.unbondings(node, ben).at(0).balance == credits(800));
    CHECK(economy.unbondings(node, ana).empty());
    ledger.set_time(left.matures_unix_ms);
    CHECK(ledger.expire() == 2 && ledger.now() == left.matures_unix_ms);
    CHECK(ledger.balance(ben) == credits(895));
    CHECK(economy.operators().size() == 2 && economy.operators(node, 9).at(0).id == other);

    const auto earned = economy.earn(next(), "hosting", ben, {{"uptime", 1000}, {"bandwidth", 0}});
    CHECK(earned.event == "earned" && economy.granted_today("hosting", ben) == earned.amount);
    CHECK(economy.earn_session(next(), ben, 100000, 3600000, 0).amount == credits(9));
    THROWS(fc::session_too_short, economy.earn_session(next(), ben, 1, 1, 0));
    CHECK(economy.pay_fee(next(), ben, ana, "100").sovereign_fund == "5");
    economy.set_parameter(next(), "earning.fees.treasury", "0");
    bool seen = false;
    for (const auto &parameter : economy.parameters()) {
        seen |= parameter.name == "earning.fees.treasury" && parameter.value == "0" &&
                parameter.unit == fc::parameter_unit::ppm;
    }
    CHECK(seen);

    fc::batch batch;
    const auto staked = next();
    batch.bond(staked, node, ben, "1000")
        .earn(next(), "hosting", ben, {{"uptime", 1}})
        .unbond(next(), node, ben, "10")
        .pay_fee(next(), ben, ana, "100");
    CHECK(ledger.execute(batch).size() == 4 && economy.receipt(staked)->amount == "1000");
    fc::key_bytes secret{};
    ledger.own(next(), ben, fc::owner_key(secret));
    batch.clear();
    batch.set_parameter(next(), "earning.fees.treasury", "1");
    THROWS(fc::host_only,
           ledger.execute_signed(batch.sign(ben, 1, 4102444800000, secret)));
    ledger.set_time(start);
    THROWS(fc::clock_behind, economy.claim(next(), node, ben));
}

void test_governance_goes_through_the_wrapper() {
    constexpr std::uint64_t day = 86400000, start = 20000 * day, never = 4102444800000;
    const auto ledger = fc::ledger::in_memory();
    const auto economy = ledger.economy();
    const auto governance = ledger.governance();
    const std::string ana(32, 'a'), ben(32, 'b'), proposal(32, '9');
    auto next = [n = 0]() mutable {
        const auto digits = std::to_string(++n);
        return std::string(32 - digits.size(), '0') + digits;
    };
    const auto credits = [](int n) { return std::to_string(n) + std::string(18, '0'); };
    const fc::key_bytes secret{7};
    using request = fc::governance_request;
    const auto hand_over = [&](const std::string &account, const request &asked) {
        fc::batch batch;
        batch.govern(next(), asked);
        return ledger.execute_signed(
            batch.sign(account, ledger.next_nonce(account), never, secret));
    };
    ledger.set_time(start);
    economy.configure(next());
    for (const auto &account : {ana, ben}) {
        ledger.open_account(account, fc::account_kind::holder);
        ledger.transfer(next(), fc::purse_account_id("treasury"), account, credits(10000));
        ledger.own(next(), account, fc::owner_key(secret));
        hand_over(account, request::enrol(account));
    }
    ledger.set_time(start + day);
    const std::string content =
        R"({"kind": "parameter_change", "title": "Pay hosts more", "description": "", "actions": [)"
        R"({"set_parameter": {"name": "earning.contributions.hosting.base", "value": "7"}}]})";
    THROWS(fc::signature_required,
           governance.ask(next(), request::propose(ana, proposal, content)));
    hand_over(ana, request::propose(ana, proposal, content));
    CHECK(json::parse(governance.content(proposal).value()) == json::parse(content));
    CHECK(governance.proposal(proposal)->state == fc::proposal_state::pending);
    CHECK(!governance.proposal(std::string(32, '8')));
    THROWS(fc::voting_not_started,
           hand_over(ben, request::vote(ben, proposal, fc::vote_choice::in_favor)));
    hand_over(ben, request::delegate(ben, {{ana, 500000}}, {fc::proposal_kind::general}));
    CHECK(governance.delegation(ben, fc::proposal_kind::general).at(0).part_ppm == 500000);
    CHECK(governance.power(ana, fc::proposal_kind::general).received == credits(5000));
    THROWS(fc::circular_delegation, hand_over(ana, request::delegate(ana, {{ben}})));
    ledger.set_time(start + 2 * day + 1);
    hand_over(ana, request::vote(ana, proposal, fc::vote_choice::abstain));
    hand_over(ben, request::vote(ben, proposal, fc::vote_choice::in_favor));
    CHECK(governance.ballot(proposal, ana)->choice == fc::vote_choice::abstain);
    ledger.set_time(start + 9 * day + 1);
    const auto eta = governance.ask(next(), request::queue(proposal)).eta_unix_ms;
    THROWS(fc::timelock_running, governance.ask(next(), request::execute(proposal)));
    ledger.set_time(eta);
    governance.ask(next(), request::execute(proposal));
    CHECK(governance.proposals().at(0).closed_unix_ms == eta);
    const auto parameters = economy.parameters();
    CHECK(std::any_of(parameters.begin(), parameters.end(), [](const auto &parameter) {
        return parameter.name == "earning.contributions.hosting.base" && parameter.value == "7";
    }));
    governance.ask(next(), request::establish({{ana, fc::role::king}}));
    governance.ask(next(), request::set_reputation(ben, 5));
    CHECK(governance.roles().at(0).role == fc::role::king);
    CHECK(governance.member(ben).reputation_ppm == 5u);
    CHECK(governance.overview().established && governance.overview().members == 2);
    CHECK(governance.total() == governance.overview().total);
    CHECK(json::parse(governance.records())["resolutions"].empty());
}

void test_threads_share_a_ledger() {
    const auto ledger = fc::ledger::in_memory();
    const std::string mint(32, 'a'), alice(32, 'b');
    ledger.open_account(mint, fc::account_kind::issuer);
    ledger.open_account(alice, fc::account_kind::holder);
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 4; thread++) {
        threads.emplace_back([&, thread] {
            for (int i = 0; i < 25; i++) {
                std::ostringstream id;
                id << std::hex;
                id.width(32);
                id.fill('0');
                id << thread * 25 + i;
                ledger.transfer(id.str(), mint, alice, "3");
            }
        });
    }
    for (auto &thread : threads) {
        thread.join();
    }
    CHECK(ledger.balance(alice) == "300");
}

// ---- harvesting -------------------------------------------------------------------------------

template <class T>
std::optional<T> maybe(const json &value) {
    return value.is_null() ? std::nullopt : std::optional<T>(value.get<T>());
}

fc::device_state read_state(const json &item) {
    const std::vector<std::string> classes{"phone", "laptop", "desktop", "server"};
    const std::vector<std::string> networks{"unknown", "offline", "ethernet", "wifi", "cellular"};
    const auto index = [](const auto &names, const json &name) {
        return std::find(names.begin(), names.end(), name) - names.begin();
    };
    fc::device_state state;
    state.device_class = static_cast<fc::device_class>(index(classes, item["class"]));
    state.network = static_cast<fc::network>(index(networks, item["network"]));
    state.cpu_cores = maybe<std::uint32_t>(item["cpu_cores"]);
    state.cpu_load = maybe<double>(item["cpu_load"]);
    state.memory_total_bytes = maybe<std::uint64_t>(item["memory_total_bytes"]);
    state.memory_available_bytes = maybe<std::uint64_t>(item["memory_available_bytes"]);
    if (item["battery"] == "absent") {
        state.battery = fc::battery_absent{};
    } else if (item["battery"].is_object()) {
        const auto &present = item["battery"]["present"];
        state.battery = fc::battery_present{present["level_percent"], present["charging"]};
    }
    state.battery_temperature_celsius = maybe<double>(item["battery_temperature_celsius"]);
    state.temperature_celsius = maybe<double>(item["temperature_celsius"]);
    state.metered = maybe<bool>(item["metered"]);
    state.screen_on = maybe<bool>(item["screen_on"]);
    if (!item["user_idle"].is_null()) {
        state.user_idle = std::chrono::seconds(item["user_idle"]["secs"].get<int>()) +
                          std::chrono::nanoseconds(item["user_idle"]["nanos"].get<int>());
    }
    state.minute_of_day = maybe<std::uint16_t>(item["minute_of_day"]);
    return state;
}

fc::harvest_policy read_policy(const std::string &name) {
    if (name == "default") {
        return {};
    }
    return name == "always" ? fc::harvest_policy::always() : fc::harvest_policy::from_toml(name);
}

void same_decision(const fc::decision &decision, const json &item) {
    const std::vector<std::string> verdicts{"allow", "throttle", "refuse"};
    CHECK(verdicts.at(static_cast<std::size_t>(decision.verdict)) == item["verdict"]);
    CHECK(decision.budget.cpu_share == item["budget"]["cpu_share"]);
    CHECK(decision.budget.memory_bytes == item["budget"]["memory_bytes"]);
    CHECK(decision.budget.bandwidth_bits_per_second ==
          item["budget"]["bandwidth_bits_per_second"]);
    json codes = json::array(), texts = json::array(), objections = json::array();
    for (const auto &reason : decision.reasons) {
        codes.push_back(reason.code);
        texts.push_back(reason.text);
        objections.push_back(reason.objection);
    }
    CHECK(codes == item["reasons"]);
    CHECK(texts == item["texts"]);
    CHECK(objections == item["objections"]);
}

void test_policies_decide_alike() {
    for (const auto &item : shared["harvest"]) {
        auto state = read_state(item["state"]);
        fc::decision decision;
        if (!ends(item, [&] { decision = read_policy(item["policy"]).decide(state); })) {
            continue;
        }
        same_decision(decision, item);
        const auto battery = std::exchange(state.battery, fc::battery_unknown{});
        const auto policy = read_policy(item["policy"]);
        same_decision(policy.decide_with_probe(state, [&] { return battery; }), item);
    }
}

void test_a_probe_may_throw() {
    const fc::harvest_policy policy;
    fc::device_state state;
    THROWS(host_error, policy.decide_with_probe(state, []() -> fc::battery {
        throw host_error("no battery here");
    }));
    THROWS(fc::probe_failed, policy.decide_with_probe(state, []() -> fc::battery {
        throw fc::probe_failed("my own");
    }));
    THROWS(fc::invalid_argument, policy.decide_with_probe(state, nullptr));
    state.device_class = static_cast<fc::device_class>(9);
    THROWS(fc::invalid_argument, policy.decide(state));
}

// ---- fog --------------------------------------------------------------------------------------

fc::bytes read_module(const std::string &name) {
    if (name == "echo" || name == "sum") {
        const auto text = read_file("examples/wasm/" + name + ".wasm");
        return {text.begin(), text.end()};
    }
    return unhex(name);
}

/// A loop without end: the task of the vectors that runs out of a million fuel.
fc::bytes endless_module() {
    for (const auto &item : shared["wasm"]) {
        if (item.value("error", "") == "OutOfFuel" && item["fuel"] == 1000000) {
            return read_module(item["module"]);
        }
    }
    std::cerr << "the vectors have no endless task\n";
    std::exit(2);
}

fc::limits long_limits() {
    fc::limits limits;
    limits.fuel = 15'000'000'000;
    return limits;
}

fc::fog one_worker() {
    fc::fog_config config;
    config.workers = 1;
    return fc::fog(config);
}

void test_tasks_end_alike() {
    const auto fog = one_worker();
    std::uint64_t succeeded = 0;
    for (const auto &item : shared["wasm"]) {
        fc::limits limits;
        limits.fuel = item["fuel"];
        limits.memory_bytes = item["memory_bytes"];
        limits.output_bytes = item["output_bytes"];
        const auto module = read_module(item["module"]);
        fc::task_output done;
        if (ends(item, [&] { done = fog.run(module, unhex(item["input"]), limits); })) {
            CHECK(hex(done.output) == item["output"]);
            CHECK(done.usage.fuel == item["fuel_used"]);
            CHECK(done.usage.memory_bytes_peak == item["memory_bytes_peak"]);
            CHECK(done.usage.wall.count() > 0);
            succeeded++;
        }
    }
    CHECK(fog.stats().succeeded == succeeded);
    CHECK(fog.stats().paid != "0");
    fog.close();
    fog.close();
    THROWS(fc::closed, fog.stats());
    THROWS(fc::closed, fog.submit(read_module("echo"), std::string("late")));
}

void test_submitted_tasks_give_futures() {
    const fc::fog fog;
    const auto echo = read_module("echo");
    std::vector<fc::task> tasks;
    for (std::uint8_t i = 0; i < 8; i++) {
        tasks.push_back(fog.submit(echo, fc::bytes{i, 42}));
        CHECK(tasks.back().id().size() == 32);
    }
    for (std::uint8_t i = 0; i < 8; i++) {
        CHECK((tasks[i].get().output == fc::bytes{i, 42}));
    }
    auto failed = fog.submit(std::string("no module"), {});
    THROWS(fc::invalid_module, failed.get());
    THROWS(fc::invalid_argument, fog.submit({}, {}));
    fc::fog_config config;
    config.workers = 0;
    THROWS(fc::invalid_argument, fc::fog{config});
    config.endowment = std::string(60, '9');
    THROWS(fc::invalid_argument, fc::fog{config});
}

void test_a_task_can_be_cancelled() {
    const auto fog = one_worker();
    auto task = fog.submit(endless_module(), {}, long_limits());
    CHECK(task.future().wait_for(std::chrono::seconds(0)) == std::future_status::timeout);
    task.cancel();
    THROWS(fc::cancelled, task.get());
}

void test_destroying_a_fog_ends_its_tasks() {
    std::optional<fc::fog> fog(one_worker());
    const auto endless = endless_module();
    std::vector<fc::task> tasks;
    for (int i = 0; i < 3; i++) {
        tasks.push_back(fog->submit(endless, {}, long_limits()));
    }
    // A task that nobody waits for is no leak either.
    fog->submit(endless, {}, long_limits());
    fog.reset();
    for (auto &task : tasks) {
        try {
            task.get();
            CHECK(!"thrown");
        } catch (const fc::error &error) {
            CHECK(error.code() == FOG_STATUS_CLOSED || error.code() == FOG_STATUS_CANCELLED);
        }
    }
}

// ---- mixnet -----------------------------------------------------------------------------------

/// Nothing here takes so long; it bounds how long a defect holds up the tests.
constexpr std::chrono::minutes LONG(5);

/// Three mixnodes in three layers, and their topology.
struct mixnet {
    std::vector<fc::mixnet_node> nodes{3};
    fc::topology topology = connect(nodes);

    static fc::topology connect(const std::vector<fc::mixnet_node> &nodes) {
        std::vector<std::vector<fc::descriptor>> layers;
        for (const auto &node : nodes) {
            layers.push_back({node.descriptor()});
        }
        fc::topology_options options;
        options.delay_mean = std::chrono::milliseconds(1);
        fc::topology made(layers, options);
        for (const auto &node : nodes) {
            node.set_topology(made);
        }
        return made;
    }

    static fc::mixnet_client_config quiet() {
        fc::mixnet_client_config config;
        config.cover_loops = config.cover_drops = std::chrono::nanoseconds(0);
        return config;
    }

    fc::mixnet_client client() const { return fc::mixnet_client(topology, quiet()); }
};

void test_a_topology_is_read_as_it_was_signed() {
    const fc::descriptor entry{std::string(64, '1'), key_and_hop('1').second.key,
                               fc::epoch_parity::odd, "127.0.0.1:9000"};
    const fc::descriptor exit{std::string(64, '2'), key_and_hop('2').second.key,
                              fc::epoch_parity::odd, "[::1]:9001"};
    fc::topology_options options;
    options.epoch = 41;
    options.hops_max = 5;
    options.payload_bytes = 1024;
    options.delay_mean = std::chrono::milliseconds(7);
    const fc::topology made({{entry}, {exit}}, options);
    const fc::key_bytes secret{7};
    const auto authority = fc::topology::authority_of(secret);
    auto text = made.sign(secret);
    const auto verified = fc::topology::verify(text, authority);
    CHECK(verified.options().epoch == 41);
    CHECK(verified.options().delay_mean == options.delay_mean);
    const auto layers = verified.layers();
    CHECK(layers.size() == 2 && layers.at(1).size() == 1);
    CHECK(layers.at(1).at(0).node == exit.node && layers.at(1).at(0).key == exit.key);
    CHECK(layers.at(1).at(0).epoch == exit.epoch && layers.at(1).at(0).address == exit.address);
    CHECK(verified.sphinx().hops_max() == 5);
    text[text.find("41")] = '5';
    THROWS(fc::invalid_topology, fc::topology::verify(text, authority));
    THROWS(fc::invalid_topology, fc::topology::verify(made.sign(fc::key_bytes{8}), authority));
    THROWS(fc::invalid_argument, fc::topology::verify(text, {}));
    THROWS(fc::invalid_argument, made.sign(std::string("short")));
    THROWS(fc::invalid_topology, fc::topology({}));
    THROWS(fc::invalid_topology, fc::topology({{entry}, {entry}}));
    auto bad = entry;
    bad.address = std::string(64, '1');
    THROWS(fc::invalid_argument, fc::topology({{bad}}));
}

void test_messages_and_answers_cross_the_mixnet() {
    const mixnet mixnet;
    const auto alice = mixnet.client(), bob = mixnet.client();
    CHECK(!bob.receive(std::chrono::seconds(0)));
    CHECK(alice.send(bob.contact(), std::string("hello"), LONG));
    const auto hello = bob.receive(LONG);
    CHECK(hello && text(hello->body()) == "hello" && hello->reply_blocks() == 0);
    CHECK(hello && hello->id().size() == 32);
    THROWS(fc::invalid_reply_block, bob.reply(hello.value(), {}));

    const fc::bytes body(20000, 7);
    auto answer = alice.request_async(bob.contact(), body, body.size(), LONG);
    const auto question = bob.receive(LONG);
    CHECK(question && question->body().size() == body.size());
    THROWS(fc::payload_too_large, bob.reply(question.value(), fc::bytes(30000)));
    bob.reply(question.value(), body);
    THROWS(fc::invalid_reply_block, bob.reply(question.value(), body));
    CHECK(answer.get() == body);

    std::thread answering([&] {
        if (const auto message = alice.receive(LONG)) {
            alice.reply(*message, std::string("yes"));
        }
    });
    CHECK(text(bob.request(alice.contact(), std::string("?"), 10, LONG)) == "yes");
    answering.join();
    auto sent = bob.send_async(alice.contact(), std::string("bye"));
    CHECK(text(alice.receive(LONG).value().body()) == "bye");
    sent.get();
    // Nobody waits for this outcome: no leak either.
    bob.send_async(alice.contact(), std::string("bye"));
    CHECK(text(alice.receive(LONG).value().body()) == "bye");
    THROWS(fc::no_answer, bob.request(alice.contact(), {}, 1, std::chrono::nanoseconds(1)));
    const auto stats = alice.stats();
    CHECK(stats.sent == 2 && stats.answers == 1 && stats.given_up == 0);
    CHECK(stats.cover.loops_sent == 0 && stats.engine.mix.delivered > 0);
    CHECK(mixnet.nodes.at(2).stats().mix.forwarded > 0);
}

void test_a_client_goes_on_from_its_state() {
    const mixnet mixnet;
    const fc::key_bytes key{7};
    std::optional<fc::mixnet_client> alice(mixnet.client()), bob(mixnet.client());
    const auto to = bob->contact();
    auto asked = alice->request_async(to, {}, 10, LONG);
    auto second = alice->request_async(to, {}, 10, LONG);
    const auto question = bob->receive(LONG).value(), other = bob->receive(LONG).value();
    const auto requests = alice->suspend(key), messages = bob->suspend(key);
    THROWS(fc::closed, asked.get());
    THROWS(fc::closed, alice->suspend(key));

    auto config = mixnet::quiet();
    auto damaged = requests;
    damaged.back() ^= 1;
    THROWS(fc::storage_corrupt,
           fc::mixnet_client::restore(mixnet.topology, requests, fc::key_bytes{8}, config));
    THROWS(fc::storage_corrupt,
           fc::mixnet_client::restore(mixnet.topology, damaged, key, config));
    THROWS(fc::invalid_argument,
           fc::mixnet_client::restore(mixnet.topology, requests, std::string("short"), config));
    config.identity = fc::key_bytes{9};
    THROWS(fc::invalid_argument,
           fc::mixnet_client::restore(mixnet.topology, requests, key, config));
    config.identity.reset();
    alice = fc::mixnet_client::restore(mixnet.topology, requests, key, config);
    bob = fc::mixnet_client::restore(mixnet.topology, messages, key, config);
    CHECK(bob->contact() == to);
    CHECK(alice->restored_requests().size() == 2 && alice->restored_messages().empty());
    CHECK(bob->restored_messages() == alice->restored_requests());
    CHECK(bob->restored_requests().empty());

    // Its acknowledgement comes over the last layer, which then knows where alice is now.
    CHECK(alice->send(to, {}, LONG));
    CHECK(bob->receive(LONG).has_value());
    THROWS(fc::invalid_reply_block, bob->reply(question, {}));
    for (const auto *message : {&question, &other}) {
        const auto blocks = bob->reply_blocks(message->id());
        CHECK(blocks && blocks->count() == 1);
        CHECK(!bob->reply_blocks(message->id()));
        THROWS(fc::payload_too_large, bob->reply_with(blocks.value(), fc::bytes(4096)));
        bob->reply_with(blocks.value(), message->id());
        THROWS(fc::invalid_reply_block, bob->reply_with(blocks.value(), {}));
    }
    auto answer = alice->answer_to_async(other.id(), LONG);
    CHECK(text(alice->answer_to(question.id(), LONG)) == question.id());
    CHECK(text(answer.get()) == other.id());
    THROWS(fc::invalid_argument, alice->answer_to(question.id(), LONG));
    THROWS(fc::invalid_argument, alice->answer_to_async("none", LONG));
    THROWS(fc::invalid_argument, bob->reply_blocks("none"));
    CHECK(alice->restored_requests().empty() && bob->restored_messages().empty());
}

void test_a_chosen_route_is_taken() {
    const mixnet mixnet;
    const auto alice = mixnet.client(), bob = mixnet.client();
    const auto nodes = alice.choose_nodes(3);
    CHECK(nodes.size() == 3 && nodes.at(0) == mixnet.nodes[0].descriptor().node);
    const auto id = alice.send_through(nodes, bob.contact(), std::string("this way"));
    const auto message = bob.receive(LONG);
    CHECK(message && message->id() == id && text(message->body()) == "this way");
    THROWS(fc::invalid_route, alice.choose_nodes(4));
    THROWS(fc::invalid_route, alice.choose_nodes(1000000));
    THROWS(fc::invalid_argument, alice.send_through({std::string(65, '1')}, bob.contact(), {}));
    THROWS(fc::invalid_argument, alice.send_through({"1"}, bob.contact(), {}));
}

void test_what_a_mixnet_cannot_do_is_thrown_by_name() {
    const mixnet mixnet;
    const auto alice = mixnet.client();
    fc::mixnet_node_config config;
    config.listen = mixnet.nodes[0].descriptor().address;
    THROWS(fc::listen_failed, fc::mixnet_node{config});
    config.listen = "nowhere";
    THROWS(fc::invalid_argument, fc::mixnet_node{config});
    config = {};
    config.identity = fc::key_bytes{9};
    config.address = "192.0.2.1:4000";
    config.epoch = 1;
    config.payload_bytes = 1024;
    const fc::mixnet_node other(config), again(config);
    CHECK(other.descriptor().node == again.descriptor().node);
    CHECK(other.descriptor().key != again.descriptor().key);
    CHECK(other.descriptor().epoch == fc::epoch_parity::odd);
    CHECK(other.descriptor().address == "192.0.2.1:4000");
    THROWS(fc::invalid_topology, other.set_topology(mixnet.topology));
    fc::mixnet_client_config expecting;
    expecting.listen = mixnet.nodes[0].descriptor().address;
    THROWS(fc::listen_failed, fc::mixnet_client(mixnet.topology, expecting));
    expecting.cover_loops = std::chrono::nanoseconds(-1);
    THROWS(fc::invalid_argument, fc::mixnet_client(mixnet.topology, expecting));
    THROWS(fc::invalid_argument, alice.send("nobody", {}, LONG));
    THROWS(fc::invalid_argument, alice.send(alice.contact(), {}, std::chrono::nanoseconds(-1)));
    THROWS(fc::payload_too_large, alice.send_async(alice.contact(), fc::bytes(64 << 20)));
    alice.set_power(fc::power_class::low_battery);
    THROWS(fc::invalid_argument, alice.set_power(static_cast<fc::power_class>(7)));
}

void test_closing_a_client_ends_what_is_waited_for() {
    const mixnet mixnet;
    std::optional<fc::mixnet_client> alice(mixnet.client());
    const auto bob = mixnet.client();
    auto first = alice->request_async(bob.contact(), {}, 1, LONG);
    std::thread waiting([&] { THROWS(fc::closed, alice->receive(LONG)); });
    CHECK(bob.receive(LONG).has_value());
    alice->close();
    alice->close();
    waiting.join();
    THROWS(fc::closed, first.get());
    THROWS(fc::closed, alice->contact());
    THROWS(fc::closed, alice->send_async(bob.contact(), {}));
    alice.emplace(mixnet.client());
    auto second = alice->request_async(bob.contact(), {}, 1, LONG);
    alice.reset();
    THROWS(fc::closed, second.get());
    const auto &node = mixnet.nodes[0];
    CHECK(node.drain(LONG).mix.received > 0);
    THROWS(fc::closed, node.stats());
    node.close();
}

// ---- a mesh -----------------------------------------------------------------------------------

const std::chrono::minutes patience(5);

/// The next event for which that holds.
template <class Holds>
fc::mesh_event until(const fc::mesh_node &node, Holds &&holds) {
    while (true) {
        auto event = node.receive(patience);
        if (!event) {
            throw std::runtime_error("what is waited for did not happen");
        }
        if (holds(*event)) {
            return *event;
        }
    }
}

fc::mesh_event until(const fc::mesh_node &node, fc::mesh_kind kind) {
    return until(node, [&](const fc::mesh_event &event) { return event.kind == kind; });
}

void reached(const fc::mesh_node &node, const std::string &id, fc::delivery_state state) {
    until(node, [&](const fc::mesh_event &event) {
        return event.kind == fc::mesh_kind::delivery && event.id == id && event.state == state;
    });
}

/// A folder for one test.
struct temporary_folder {
    std::string path = (std::filesystem::temp_directory_path() / "fogcompute-XXXXXX").string();

    temporary_folder() {
        if (mkdtemp(path.data()) == nullptr) {
            throw std::runtime_error("mkdtemp");
        }
    }
    temporary_folder(const temporary_folder &) = delete;
    ~temporary_folder() { std::filesystem::remove_all(path); }
};

void test_nodes_of_a_mesh_talk() {
    const temporary_folder folder;
    const std::string file = folder.path + "/alice";
    std::string alice_id, sent;
    {
        const fc::mesh_node alice("alice", {file}), bob("bob");
        alice_id = alice.id();
        const auto address = bob.listen();
        alice.connect(address);
        until(alice, fc::mesh_kind::peer_joined);
        until(bob, fc::mesh_kind::peer_joined);
        const auto peers = alice.peers();
        CHECK(peers.size() == 1 && peers[0].id == bob.id() && peers[0].nickname == "bob");
        CHECK(peers[0].is_linked && peers[0].is_reachable);
        sent = alice.send_private(bob.id(), "hello");
        const auto came = until(bob, fc::mesh_kind::private_message);
        CHECK(came.id == sent && came.text == "hello" && came.peer == alice.id());
        CHECK(came.is_private && came.via == alice.id() && came.group.empty());
        CHECK(came.hops == 1 && came.protection != fc::mesh_protection::unknown);
        const auto passed = until(alice, fc::mesh_kind::passed);
        CHECK(passed.id == sent && passed.peer == bob.id());
        CHECK(passed.passing == fc::mesh_passing::given);
        reached(alice, sent, fc::delivery_state::delivered);
        bob.mark_read(alice.id(), sent);
        reached(alice, sent, fc::delivery_state::read);
        bob.set_nickname("robert");
        CHECK(bob.nickname() == "robert");
        bob.send_public("to all");
        CHECK(until(alice, fc::mesh_kind::public_message).text == "to all");
        CHECK(alice.stats().links == 1 && alice.counter("received") > 0);
        THROWS(fc::invalid_argument, alice.counter("luck"));
        CHECK(alice.disconnect(address) && !alice.disconnect(address));
    }
    const fc::mesh_node again("", {file});
    CHECK(again.id() == alice_id && again.nickname() == "alice");
    const auto history = again.history();
    CHECK(history.size() == 2 && history[0].text == "to all" && !history[0].is_own);
    CHECK(history[1].id == sent && history[1].state == fc::delivery_state::read);
    CHECK(again.history(5, history[0].number).size() == 1);
    const auto with_bob = again.history_with_peer(history[1].peer);
    CHECK(with_bob.size() == 1 && with_bob[0].id == sent);
    CHECK(again.delete_message(with_bob[0].number) && !again.delete_message(with_bob[0].number));
    CHECK(again.history().size() == 1);
    again.close();
}

void test_groups_and_files_of_a_mesh() {
    const temporary_folder folder;
    const std::string large = folder.path + "/large", taken = folder.path + "/taken";
    const fc::mesh_node alice("alice"), bob("bob");
    alice.link_with(bob);
    until(alice, fc::mesh_kind::peer_joined);
    until(bob, fc::mesh_kind::peer_joined);
    const auto group = alice.create_group("us", {bob.id()});
    CHECK(until(bob, fc::mesh_kind::group).group == group);
    const auto groups = bob.groups();
    CHECK(groups.size() == 1 && groups[0].id == group && groups[0].name == "us");
    CHECK((groups[0].members == std::vector<std::string>{alice.id(), bob.id()}));
    THROWS(fc::not_group_creator, bob.change_group(group, {}));
    const auto sent = alice.send_group(group, "between us");
    const auto read = until(bob, fc::mesh_kind::group_message);
    CHECK(read.id == sent && read.text == "between us" && read.group == group);
    const auto of_group = bob.history_of_group(group);
    CHECK(of_group.size() == 1 && of_group[0].id == sent && of_group[0].group == group);
    CHECK(bob.history_with_peer(alice.id()).empty());
    CHECK(read.protection == fc::mesh_protection::group_key && !groups[0].is_large);
    CHECK(bob.leave_group(group) && !bob.leave_group(group));
    const auto many = alice.create_large_group("many", {bob.id()});
    CHECK(until(bob, fc::mesh_kind::group).group == many && bob.groups().at(0).is_large);
    alice.send_group(many, "between many");
    const auto of_many = until(bob, fc::mesh_kind::group_message);
    CHECK(of_many.text == "between many" && of_many.group == many);
    CHECK(of_many.protection == fc::mesh_protection::sender_key);

    alice.send_file(bob.id(), fc::bytes_view("small", 5), "small.txt");
    const auto small = until(bob, fc::mesh_kind::file);
    CHECK(std::string(small.content.begin(), small.content.end()) == "small");
    CHECK(small.text == "small.txt" && small.is_private);

    const std::string content(100'000, 'x');
    std::ofstream(large, std::ios::binary) << content;
    const auto name = alice.offer_file(bob.id(), large);
    const auto offered = until(bob, fc::mesh_kind::file_offered);
    CHECK(offered.file == name && offered.length == content.size() && offered.text == "large");
    bob.accept_file(name, taken);
    const auto progress = until(bob, fc::mesh_kind::file_progress);
    CHECK(progress.done > 0 && progress.done <= progress.length);
    CHECK(until(bob, fc::mesh_kind::file_received).path == taken);
    std::ostringstream copy;
    copy << std::ifstream(taken, std::ios::binary).rdbuf();
    CHECK(copy.str() == content);
    CHECK(alice.cancel_file(name));
}

void test_members_of_a_fog_talk_and_a_stranger_is_nobody_to_them() {
    fc::mesh_node_config config;
    config.fog_key.emplace().fill(7);
    const fc::mesh_node alice("alice", config), bob("bob", config), stranger("stranger");
    stranger.link_with(bob);
    until(bob, fc::mesh_kind::link_up);
    alice.link_with(bob);
    until(alice, fc::mesh_kind::peer_joined);
    until(bob, fc::mesh_kind::peer_joined);
    alice.send_private(bob.id(), "between us");
    CHECK(until(bob, fc::mesh_kind::private_message).text == "between us");
    CHECK(alice.air_id() != alice.id() && stranger.air_id() == stranger.id());
    stranger.send_public("who is there");
    while (bob.counter("strangers") == 0) {
        bob.receive(std::chrono::milliseconds(20));
    }
    CHECK(alice.peers().size() == 1 && bob.peers().size() == 1 && stranger.peers().empty());
    config.fog_period = std::chrono::milliseconds(-1);
    THROWS(fc::invalid_argument, fc::mesh_node("alice", config));
}

void test_what_a_mesh_refuses_is_thrown_by_name() {
    const fc::mesh_node alice("alice"), bob("bob");
    const std::string eight = "abababababababab", sixteen = eight + eight;
    THROWS(fc::unknown_peer, alice.send_private(eight, "hello"));
    THROWS(fc::unknown_group, alice.send_group(sixteen, "hello"));
    THROWS(fc::unknown_file, alice.accept_file(sixteen + sixteen, "x"));
    THROWS(fc::invalid_mesh_content, alice.send_public(""));
    THROWS(fc::invalid_mesh_content, fc::mesh_node(""));
    THROWS(fc::invalid_argument, alice.connect("nowhere"));
    THROWS(fc::invalid_argument, alice.send_private("xyz", "hello"));
    THROWS(fc::invalid_argument, alice.history_with_peer("xyz"));
    THROWS(fc::invalid_argument, alice.create_group("us", {sixteen}));
    THROWS(fc::invalid_argument, alice.add_radio(nullptr));
    THROWS(fc::invalid_argument, alice.when_readable(nullptr));
    THROWS(fc::listen_failed, bob.listen(alice.listen()));
    CHECK(!alice.receive(std::chrono::nanoseconds(0)));
    std::promise<void> woken;
    alice.when_readable([&] { woken.set_value(); });
    alice.link_with(bob);
    woken.get_future().wait();
    CHECK(alice.receive(std::chrono::nanoseconds(0)).has_value());
    alice.close();
    alice.close();
    THROWS(fc::closed, alice.peers());
    THROWS(fc::closed, while (true) { alice.receive(patience); });
}

class loopback_radio;

/// Carries values between the radios that are in it.
struct common_air {
    std::mutex lock;
    std::vector<loopback_radio *> radios;
    std::map<std::uint64_t, std::array<loopback_radio *, 2>> ends;
    std::uint64_t links = 0;
};

/// A radio whose air is this program: what one writes, the other one hears.
class loopback_radio final : public fc::radio {
public:
    explicit loopback_radio(common_air &of) : air_(of) {
        const std::lock_guard<std::mutex> held(air_.lock);
        address_ = static_cast<std::uint8_t>(air_.radios.size());
        air_.radios.push_back(this);
    }

    bool is_central() const override { return true; }
    bool is_peripheral() const override { return true; }
    std::size_t links_max() const override { return 8; }

    void attach(std::shared_ptr<const fc::radio_inbox> inbox) override {
        const std::lock_guard<std::mutex> held(air_.lock);
        if (refuses) {
            throw std::logic_error("no permission");
        }
        inbox_ = std::move(inbox);
    }

    void advertise(fc::bytes_view service_data) override {
        each_other([&](loopback_radio &other) {
            other.inbox_->discovered(here(), -40, service_data);
        });
    }

    void stop_advertising() override {}

    // Who is attached later is heard by its advert.
    void scan() override {
        each_other([&](loopback_radio &other) { inbox_->discovered(other.here(), -40); });
    }

    void stop_scanning() override {}

    bool connect(fc::bytes_view peer) override {
        const std::lock_guard<std::mutex> held(air_.lock);
        if (peer.size() != 1 || *peer.data() >= air_.radios.size()) {
            return false;
        }
        auto &other = *air_.radios[*peer.data()];
        const auto link = ++air_.links;
        air_.ends[link] = {this, &other};
        inbox_->connected(link, other.here(), true, 517);
        other.inbox_->connected(link, here(), false, 517);
        inbox_->subscribed(link);
        other.inbox_->subscribed(link);
        return true;
    }

    void disconnect(std::uint64_t link) override {
        const std::lock_guard<std::mutex> held(air_.lock);
        end(link);
    }

    bool write(std::uint64_t link, fc::bytes_view value, bool) override {
        return notify(link, value);
    }

    bool notify(std::uint64_t link, fc::bytes_view value) override {
        const std::lock_guard<std::mutex> held(air_.lock);
        if (throws) {
            throw std::runtime_error("the antenna fell off");
        }
        const auto found = air_.ends.find(link);
        if (found == air_.ends.end()) {
            return false;
        }
        values++;
        const auto &ends = found->second;
        return (ends[0] == this ? ends[1] : ends[0])->inbox_->received(link, value);
    }

    void detach() override {
        const std::lock_guard<std::mutex> held(air_.lock);
        const auto ends = air_.ends;
        for (const auto &[link, both] : ends) {
            end(link);
        }
        inbox_ = nullptr;
        detached++;
        throw std::runtime_error("nobody hears this");
    }

    std::atomic<bool> refuses{false}, throws{false};
    std::atomic<int> values{0}, detached{0};

private:
    fc::bytes_view here() const { return {&address_, 1}; }

    template <class Act>
    void each_other(Act &&act) {
        const std::lock_guard<std::mutex> held(air_.lock);
        for (auto *other : air_.radios) {
            if (other != this && other->inbox_) {
                act(*other);
            }
        }
    }

    /// With the lock.
    void end(std::uint64_t link) {
        const auto found = air_.ends.find(link);
        if (found == air_.ends.end()) {
            return;
        }
        for (auto *one : found->second) {
            one->inbox_->disconnected(link, one == this);
        }
        air_.ends.erase(found);
    }

    common_air &air_;
    std::uint8_t address_ = 0;
    std::shared_ptr<const fc::radio_inbox> inbox_;
};

void test_nodes_talk_over_a_radio_written_in_cpp() {
    common_air air;
    const auto near = std::make_shared<loopback_radio>(air);
    const auto far = std::make_shared<loopback_radio>(air);
    {
        const fc::mesh_node alice("alice"), bob("bob");
        near->refuses = true;
        THROWS(std::logic_error, alice.add_radio(near));
        CHECK(near->detached == 1);
        near->refuses = false;
        alice.add_radio(near);
        bob.add_radio(far);
        until(alice, fc::mesh_kind::peer_joined);
        until(bob, fc::mesh_kind::peer_joined);
        const auto sent = alice.send_private(bob.id(), "over the air");
        CHECK(until(bob, fc::mesh_kind::private_message).text == "over the air");
        reached(alice, sent, fc::delivery_state::delivered);

        // What a radio throws ends that connection, and neither node.
        near->throws = true;
        alice.send_public("lost");
        const auto failed = until(alice, fc::mesh_kind::radio_failed);
        CHECK(failed.text == "the antenna fell off" && failed.number == 0);
        until(alice, fc::mesh_kind::link_down);
        near->throws = false;
        CHECK(alice.peers().size() == 1);
    }
    CHECK(near->values > 0 && far->values > 0);
    CHECK(near->detached == 2 && far->detached == 1);
    CHECK(near.use_count() == 1 && far.use_count() == 1);
}

// ---- a fog of processes -----------------------------------------------------------------------

namespace co = fc::coordination;

co::node started(const co::coordinator &fog, const std::string &data,
                 std::optional<std::uint8_t> layer) {
    const auto always = fc::harvest_policy::always();
    co::node_options options;
    options.layer = layer;
    options.policy = &always;
    options.heartbeat = std::chrono::milliseconds(200);
    return co::node(fog.address(), fog.id(), data, options);
}

void test_a_fog_of_processes_does_a_job_and_tells_of_it() {
    const temporary_folder folder;
    const co::coordinator fog(folder.path + "/fog");
    const co::node mix = started(fog, folder.path + "/mix", 0);
    const co::node compute = started(fog, folder.path + "/compute", std::nullopt);
    mix.joined().get();
    compute.joined().get();
    co::token_terms terms;
    terms.actions = "submit,query,drain";
    const co::client client(fog.issue_token(terms), patience);
    const auto watch = client.watch();

    const std::string says = read_file("examples/wasm/says.wasm");
    const fc::bytes_view module(reinterpret_cast<const std::uint8_t *>(says.data()), says.size());
    co::job_options options;
    options.id = "0123456789abcdef0123456789abcdef";
    options.host_calls = true;
    options.priority = fc::priority::high;
    const auto job = client.submit(module, {{'h', 'i'}, {'h', 'o'}}, options);
    CHECK(job.id == *options.id && job.open == 2);
    CHECK(job.priority == FOG_PRIORITY_HIGH);
    THROWS(fc::id_reused, client.submit(module, {{'h', 'i'}}, options));

    int kinds[FOG_FOG_EVENT_KIND_LAGGED + 1] = {};
    while (kinds[FOG_FOG_EVENT_KIND_JOB_ENDED] == 0) {
        const auto event = watch.receive(std::chrono::minutes(1));
        if (!event) {
            throw std::runtime_error("no event within a minute");
        }
        kinds[event->kind]++;
        if (event->kind == FOG_FOG_EVENT_KIND_ASSIGNED) {
            CHECK(event->node == compute.id());
        }
    }
    CHECK(kinds[FOG_FOG_EVENT_KIND_ADMITTED] == 1 && kinds[FOG_FOG_EVENT_KIND_ENDED] == 2);
    CHECK(client.wait(job.id).succeeded == 2 && client.job_of(job.id).open == 0);
    const auto tasks = client.tasks(job.id);
    CHECK(tasks.size() == 2);
    CHECK((client.result(tasks.at(0).id).output == fc::bytes{'h', 'i'}));
    CHECK(client.log(tasks.at(1).id) == "ho\n");
    CHECK(client.task_of(tasks.at(1).id).state == FOG_FOG_TASK_STATE_SUCCEEDED);
    const auto jobs = client.jobs();
    CHECK(jobs.size() == 1 && std::string(jobs.at(0).id) == job.id);
    CHECK(client.jobs(0).empty());
    const auto before = client.topology_history();
    CHECK(!before.empty() && before.at(0).at_unix_ms > 0 && before.at(0).mixnodes == 0);
    CHECK(client.metrics().find("# TYPE ") != std::string::npos);

    client.drain(compute.id());
    const auto members = client.topology();
    CHECK(members.size() == 2);
    for (const auto &member : members) {
        const std::string status = member.status;
        CHECK((member.layer == 0) == (member.id == mix.id()));
        CHECK(member.layer == 0 || status == "draining" || status == "maintenance");
    }
    client.undrain(compute.id());
    THROWS(fc::unknown_node, client.drain(fog.id()));
    THROWS(fc::token_forbids, client.cancel(job.id));
    watch.close();
    client.close();
    THROWS(fc::closed, client.last_event());
    compute.close();
    THROWS(fc::closed, compute.joined().get());
}

void test_what_a_fog_of_processes_refuses_is_thrown_by_name() {
    const temporary_folder folder;
    THROWS(fc::invalid_token, co::client(""));
    THROWS(fc::invalid_argument, co::client("", std::chrono::milliseconds(-1)));
    const co::coordinator fog(folder.path + "/fog");
    co::coordinator_config config;
    config.listen = fog.address();
    THROWS(fc::listen_failed, co::coordinator(folder.path + "/other", config));
    config = {};
    config.endowment = "nothing";
    THROWS(fc::invalid_argument, co::coordinator(folder.path + "/other", config));
    config.endowment = "1000000000000000000";
    config.layers = 2;
    config.placement = "random";
    const co::coordinator small(folder.path + "/small", config);
    small.close();
    THROWS(fc::closed, small.issue_token());
    THROWS(fc::invalid_argument, co::node(fog.address(), "x", folder.path + "/node"));
    // It was started, and the coordinator did not understand it.
    THROWS(fc::invalid_argument, started(fog, folder.path + "/node", 200));
    co::node_options nowhere;
    nowhere.nodes_on_machine = 0;
    THROWS(fc::invalid_argument, co::node(fog.address(), fog.id(), folder.path + "/node", nowhere));
    const co::client client(fog.issue_token(), patience);
    THROWS(fc::invalid_job, client.submit({}, {}));
    THROWS(fc::unknown_task, client.wait("0123456789abcdef0123456789abcdef"));
    THROWS(fc::invalid_argument, client.wait("x"));
    const auto module = fc::bytes{0, 'a', 's', 'm', 1, 0, 0, 0};
    const auto job = client.submit(module, {{}, {}});
    const std::string first = client.tasks(job.id).at(0).id;
    CHECK(client.cancel_task(first) && !client.cancel_task(first));
    CHECK(client.cancel(job.id) == 1);
    THROWS(fc::unknown_task, client.task_of("0123456789abcdef0123456789abcdef"));
    THROWS(fc::no_result, client.result(client.tasks(job.id).at(0).id));
    THROWS(fc::coordinator_error, client.drain(fog.id()));
    const auto token = fog.issue_token();
    fog.close();
    const co::client lost(token, std::chrono::milliseconds(200));
    THROWS(fc::coordinator_unreachable, lost.last_event());
}

} // namespace

int main(int argc, char **argv) {
    const std::pair<const char *, void (*)()> tests[] = {
#define TEST(name) {#name, test_##name}
        TEST(version),
        TEST(every_code_has_its_exception),
        TEST(a_panic_becomes_an_exception),
        TEST(bytes_come_from_anything),
        TEST(sphinx_packets_open_hop_by_hop),
        TEST(private_keys),
        TEST(a_batch_is_processed_in_place),
        TEST(a_reply_block_brings_a_reply_back),
        TEST(a_processor_takes_a_packet_once),
        TEST(minimize_finds_the_same_fronts),
        TEST(minimize_rethrows_what_the_callback_throws),
        TEST(minimize_takes_first_genomes),
        TEST(generations_are_evaluated_at_once_and_saved),
        TEST(fronts_are_measured),
        TEST(placement_chooses_the_same_plans),
        TEST(placement_leaves_out_the_same_jobs),
        TEST(tiers_have_the_same_terms),
        TEST(the_ledger_takes_the_same_steps),
        TEST(batches_history_and_signatures_go_through_the_wrapper),
        TEST(an_economy_goes_through_the_wrapper),
        TEST(governance_goes_through_the_wrapper),
        TEST(threads_share_a_ledger),
        TEST(policies_decide_alike),
        TEST(a_probe_may_throw),
        TEST(tasks_end_alike),
        TEST(submitted_tasks_give_futures),
        TEST(a_task_can_be_cancelled),
        TEST(destroying_a_fog_ends_its_tasks),
        TEST(a_topology_is_read_as_it_was_signed),
        TEST(messages_and_answers_cross_the_mixnet),
        TEST(a_client_goes_on_from_its_state),
        TEST(a_chosen_route_is_taken),
        TEST(what_a_mixnet_cannot_do_is_thrown_by_name),
        TEST(closing_a_client_ends_what_is_waited_for),
        TEST(nodes_of_a_mesh_talk),
        TEST(groups_and_files_of_a_mesh),
        TEST(members_of_a_fog_talk_and_a_stranger_is_nobody_to_them),
        TEST(what_a_mesh_refuses_is_thrown_by_name),
        TEST(nodes_talk_over_a_radio_written_in_cpp),
        TEST(a_fog_of_processes_does_a_job_and_tells_of_it),
        TEST(what_a_fog_of_processes_refuses_is_thrown_by_name),
#undef TEST
    };
    if (argc != 2) {
        std::cerr << "usage: " << argv[0] << " REPOSITORY\n";
        return 2;
    }
    repository = argv[1];
    shared = json::parse(read_file("bindings/vectors/shared.json"));
    int passed = 0, failed = 0;
    for (const auto &[name, run] : tests) {
        failures = 0;
        try {
            run();
        } catch (const std::exception &error) {
            std::printf("  %s\n", error.what());
            failures++;
        }
        std::printf("%s %s\n", failures == 0 ? "ok    " : "FAILED", name);
        std::fflush(stdout);
        (failures == 0 ? passed : failed)++;
    }
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
