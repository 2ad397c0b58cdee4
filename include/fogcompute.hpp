// fogcompute: privacy-preserving fog computing, for C++17 and later.
//
// A header over fogcompute.h; link the same library. Objects free themselves, failures are
// exceptions, and values are values: nothing here has to be released by hand.
//
//     fogcompute::fog fog;
//     auto output = fog.run(module, input).output;
//
// Exceptions of the caller's own callbacks (an objective function, a battery probe) do not cross
// the C library: they stop the call, which rethrows them unchanged.
//
// Objects may be moved, not copied. A const member function may be called from several threads at
// once on one object; everything else needs an object that no other thread uses at that time.

#ifndef FOGCOMPUTE_HPP
#define FOGCOMPUTE_HPP

#include "fogcompute.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <future>
#include <iterator>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace fogcompute {

/// Version of the library that is linked, such as "0.1.0".
inline std::string version() { return fog_version(); }

// ---- errors -----------------------------------------------------------------------------------

/// Every failure of the library.
class error : public std::runtime_error {
public:
    error(fog_status code, const std::string &message)
        : std::runtime_error(message), code_(code) {}

    /// The stable code, the same in every language.
    fog_status code() const noexcept { return code_; }

    /// Its name, the same in every language.
    const char *name() const noexcept { return fog_status_name(code_); }

private:
    fog_status code_;
};

/// Failures of the mixnet's packets.
class packet_error : public error {
    using error::error;
};

/// Failures of optimisation and placement.
class schedule_error : public error {
    using error::error;
};

/// Failures of the ledger's rules.
class ledger_error : public error {
    using error::error;
};

/// Failures of harvesting.
class harvest_error : public error {
    using error::error;
};

/// Failures of a task.
class task_error : public error {
    using error::error;
};

/// Failures of a file.
class storage_error : public error {
    using error::error;
};

/// The failure of one code.
template <fog_status Code, class Base>
class error_of : public Base {
public:
    explicit error_of(const std::string &message) : Base(Code, message) {}
};

using invalid_argument = error_of<FOG_STATUS_INVALID_ARGUMENT, error>;
using panic = error_of<FOG_STATUS_PANIC, error>;
using host_callback_failed = error_of<FOG_STATUS_HOST_CALLBACK, error>;
using cancelled = error_of<FOG_STATUS_CANCELLED, error>;
using closed = error_of<FOG_STATUS_CLOSED, error>;
using buffer_too_small = error_of<FOG_STATUS_BUFFER_TOO_SMALL, error>;
using invalid_packet = error_of<FOG_STATUS_INVALID_PACKET, packet_error>;
using invalid_route = error_of<FOG_STATUS_INVALID_ROUTE, packet_error>;
using payload_too_large = error_of<FOG_STATUS_PAYLOAD_TOO_LARGE, packet_error>;
using invalid_problem = error_of<FOG_STATUS_INVALID_PROBLEM, schedule_error>;
using not_finite = error_of<FOG_STATUS_NOT_FINITE, schedule_error>;
using infeasible = error_of<FOG_STATUS_INFEASIBLE, schedule_error>;
using insufficient_funds = error_of<FOG_STATUS_INSUFFICIENT_FUNDS, ledger_error>;
using unknown_account = error_of<FOG_STATUS_UNKNOWN_ACCOUNT, ledger_error>;
using account_exists = error_of<FOG_STATUS_ACCOUNT_EXISTS, ledger_error>;
using id_reused = error_of<FOG_STATUS_ID_REUSED, ledger_error>;
using reservation_closed = error_of<FOG_STATUS_RESERVATION_CLOSED, ledger_error>;
using invalid_operation = error_of<FOG_STATUS_INVALID_OPERATION, ledger_error>;
using unknown_reservation = error_of<FOG_STATUS_UNKNOWN_RESERVATION, ledger_error>;
using invalid_policy = error_of<FOG_STATUS_INVALID_POLICY, harvest_error>;
using probe_failed = error_of<FOG_STATUS_PROBE_FAILED, harvest_error>;
using invalid_module = error_of<FOG_STATUS_INVALID_MODULE, task_error>;
using out_of_fuel = error_of<FOG_STATUS_OUT_OF_FUEL, task_error>;
using out_of_memory = error_of<FOG_STATUS_OUT_OF_MEMORY, task_error>;
using invalid_output = error_of<FOG_STATUS_INVALID_OUTPUT, task_error>;
using trap = error_of<FOG_STATUS_TRAP, task_error>;
using task_lost = error_of<FOG_STATUS_TASK_LOST, task_error>;
using storage_failed = error_of<FOG_STATUS_STORAGE, storage_error>;
using storage_locked = error_of<FOG_STATUS_STORAGE_LOCKED, storage_error>;
using storage_corrupt = error_of<FOG_STATUS_STORAGE_CORRUPT, storage_error>;
using node_failed = error_of<FOG_STATUS_NODE, error>;

namespace detail {

/// Throws the exception of a status. A status of a newer library becomes a plain `error`.
[[noreturn]] inline void raise(fog_status status, const std::string &message) {
    // No default: the compiler warns when a status is missing.
    switch (status) {
    case FOG_STATUS_OK: break;
    case FOG_STATUS_INVALID_ARGUMENT: throw invalid_argument(message);
    case FOG_STATUS_PANIC: throw panic(message);
    case FOG_STATUS_HOST_CALLBACK: throw host_callback_failed(message);
    case FOG_STATUS_CANCELLED: throw cancelled(message);
    case FOG_STATUS_CLOSED: throw closed(message);
    case FOG_STATUS_BUFFER_TOO_SMALL: throw buffer_too_small(message);
    case FOG_STATUS_INVALID_PACKET: throw invalid_packet(message);
    case FOG_STATUS_INVALID_ROUTE: throw invalid_route(message);
    case FOG_STATUS_PAYLOAD_TOO_LARGE: throw payload_too_large(message);
    case FOG_STATUS_INVALID_PROBLEM: throw invalid_problem(message);
    case FOG_STATUS_NOT_FINITE: throw not_finite(message);
    case FOG_STATUS_INFEASIBLE: throw infeasible(message);
    case FOG_STATUS_INSUFFICIENT_FUNDS: throw insufficient_funds(message);
    case FOG_STATUS_UNKNOWN_ACCOUNT: throw unknown_account(message);
    case FOG_STATUS_ACCOUNT_EXISTS: throw account_exists(message);
    case FOG_STATUS_ID_REUSED: throw id_reused(message);
    case FOG_STATUS_RESERVATION_CLOSED: throw reservation_closed(message);
    case FOG_STATUS_INVALID_OPERATION: throw invalid_operation(message);
    case FOG_STATUS_UNKNOWN_RESERVATION: throw unknown_reservation(message);
    case FOG_STATUS_INVALID_POLICY: throw invalid_policy(message);
    case FOG_STATUS_PROBE_FAILED: throw probe_failed(message);
    case FOG_STATUS_INVALID_MODULE: throw invalid_module(message);
    case FOG_STATUS_OUT_OF_FUEL: throw out_of_fuel(message);
    case FOG_STATUS_OUT_OF_MEMORY: throw out_of_memory(message);
    case FOG_STATUS_INVALID_OUTPUT: throw invalid_output(message);
    case FOG_STATUS_TRAP: throw trap(message);
    case FOG_STATUS_TASK_LOST: throw task_lost(message);
    case FOG_STATUS_STORAGE: throw storage_failed(message);
    case FOG_STATUS_STORAGE_LOCKED: throw storage_locked(message);
    case FOG_STATUS_STORAGE_CORRUPT: throw storage_corrupt(message);
    case FOG_STATUS_NODE: throw node_failed(message);
    }
    throw error(status, message);
}

inline void check(fog_status status) {
    if (status != FOG_STATUS_OK) {
        raise(status, fog_last_error_message());
    }
}

/// The same after a callback may have thrown: its own exception goes first.
inline void check(fog_status status, const std::exception_ptr &thrown) {
    if (thrown) {
        std::rethrow_exception(thrown);
    }
    check(status);
}

template <auto Free>
struct deleter {
    template <class T>
    void operator()(T *handle) const noexcept {
        Free(handle);
    }
};

template <class T, auto Free>
using handle = std::unique_ptr<T, deleter<Free>>;

/// The handle that a call puts into its last argument.
template <class Handle, class Call>
Handle take(Call &&call) {
    typename Handle::pointer raw = nullptr;
    check(call(&raw));
    return Handle(raw);
}

template <class T, class Call>
T fill(Call &&call) {
    T value{};
    check(call(&value));
    return value;
}

inline std::uint64_t nanoseconds(std::chrono::nanoseconds duration) {
    if (duration.count() < 0) {
        throw invalid_argument("a duration is negative");
    }
    return static_cast<std::uint64_t>(duration.count());
}

} // namespace detail

// ---- bytes ------------------------------------------------------------------------------------

using bytes = std::vector<std::uint8_t>;

/// Bytes that somebody else owns: made from a vector, an array, a string, a span of bytes, or a
/// pointer and a length.
class bytes_view {
public:
    bytes_view() noexcept = default;

    bytes_view(const void *data, std::size_t size) noexcept
        : data_(static_cast<const std::uint8_t *>(data)), size_(size) {}

    template <class Range,
              class Element = std::remove_pointer_t<decltype(std::declval<const Range &>().data())>,
              class = std::enable_if_t<sizeof(Element) == 1 && std::is_trivial_v<Element> &&
                                       !std::is_same_v<Range, bytes_view>>>
    bytes_view(const Range &range) noexcept : bytes_view(range.data(), range.size()) {}

    const std::uint8_t *data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }

private:
    const std::uint8_t *data_ = nullptr;
    std::size_t size_ = 0;
};

/// A public or a private key.
using key_bytes = std::array<std::uint8_t, FOG_KEY_BYTES>;

// ---- Sphinx -----------------------------------------------------------------------------------

/// A node's private mix key. Erased from memory when destroyed.
class private_key {
public:
    /// A new key from the randomness of the operating system.
    static private_key generate() {
        return private_key(detail::take<handle>(fog_private_key_generate));
    }

    /// Takes a key from FOG_KEY_BYTES secret bytes.
    static private_key from_bytes(bytes_view secret) {
        return private_key(detail::take<handle>([&](fog_private_key **out) {
            return fog_private_key_from_bytes(secret.data(), secret.size(), out);
        }));
    }

    /// The secret bytes. Erase them after use.
    key_bytes to_bytes() const {
        key_bytes key{};
        detail::check(fog_private_key_to_bytes(handle_.get(), key.data(), key.size()));
        return key;
    }

    /// The public half.
    key_bytes public_key() const {
        key_bytes key{};
        detail::check(fog_private_key_public_key(handle_.get(), key.data(), key.size()));
        return key;
    }

    const fog_private_key *native_handle() const noexcept { return handle_.get(); }

private:
    using handle = detail::handle<fog_private_key, fog_private_key_free>;
    explicit private_key(handle raw) noexcept : handle_(std::move(raw)) {}
    handle handle_;
};

/// One stop of a route.
struct hop {
    /// The node's identifier, 64 hexadecimal digits.
    std::string node;
    /// The node's public mix key.
    key_bytes key{};
    /// How long the node holds the packet. The last hop does not wait.
    std::chrono::nanoseconds delay{0};
};

/// Hold the packet for `delay`, then send it to `next`.
struct forward {
    std::string next;
    std::chrono::nanoseconds delay{0};
    bytes packet;
};

/// This node is the receiver.
struct deliver {
    bytes payload;
};

/// This node made the reply block by which the packet came.
struct reply {
    std::string surb;
};

/// A packet with one layer taken off.
struct processed {
    /// Names the packet at this hop, whatever was done to its bytes: see it twice, drop it.
    std::array<std::uint8_t, 16> replay_tag{};
    /// What to do.
    std::variant<forward, deliver, reply> outcome;
};

/// Builds and processes Sphinx packets of one network's size.
class sphinx {
public:
    /// Packets that carry up to `payload_bytes` bytes, a multiple of 1024 up to 65536.
    explicit sphinx(std::size_t payload_bytes = FOG_SPHINX_PAYLOAD_BYTES)
        : handle_(detail::take<handle>(
              [&](fog_sphinx **out) { return fog_sphinx_new(payload_bytes, out); })) {}

    /// Bytes of message one packet carries.
    std::size_t payload_bytes() const noexcept { return fog_sphinx_payload_bytes(handle_.get()); }

    /// Length of every packet.
    std::size_t packet_bytes() const noexcept { return fog_sphinx_packet_bytes(handle_.get()); }

    /// Builds a packet that takes `route` and delivers `payload` to its last hop.
    bytes build(const std::vector<hop> &route, bytes_view payload) const {
        std::vector<fog_hop> hops(route.size());
        for (std::size_t i = 0; i < route.size(); i++) {
            hops[i].node = route[i].node.c_str();
            std::copy(route[i].key.begin(), route[i].key.end(), hops[i].key);
            hops[i].delay_ns = detail::nanoseconds(route[i].delay);
        }
        bytes packet(packet_bytes());
        std::size_t size = 0;
        detail::check(fog_sphinx_build(handle_.get(), hops.data(), hops.size(), payload.data(),
                                       payload.size(), packet.data(), packet.size(), &size));
        packet.resize(size);
        return packet;
    }

    /// Takes one layer off a packet with this node's key.
    ///
    /// Nothing is remembered: noticing a replay tag that was seen before is for the caller.
    fogcompute::processed process(const private_key &key, bytes_view packet) const {
        fog_processed told{};
        bytes content(packet_bytes());
        std::size_t size = 0;
        detail::check(fog_sphinx_process(handle_.get(), key.native_handle(), packet.data(),
                                         packet.size(), content.data(), content.size(), &size,
                                         &told));
        content.resize(size);
        fogcompute::processed result;
        std::copy(std::begin(told.replay_tag), std::end(told.replay_tag),
                  result.replay_tag.begin());
        switch (told.kind) {
        case FOG_PROCESSED_KIND_FORWARD:
            result.outcome = forward{told.next, std::chrono::nanoseconds(told.delay_ns),
                                     std::move(content)};
            break;
        case FOG_PROCESSED_KIND_DELIVER: result.outcome = deliver{std::move(content)}; break;
        case FOG_PROCESSED_KIND_REPLY: result.outcome = reply{told.surb}; break;
        }
        return result;
    }

    const fog_sphinx *native_handle() const noexcept { return handle_.get(); }

private:
    using handle = detail::handle<fog_sphinx, fog_sphinx_free>;
    handle handle_;
};

// ---- NSGA-II ----------------------------------------------------------------------------------

/// A real number from `low` to `high`, both inclusive.
struct real {
    double low = 0;
    double high = 0;
};

/// A whole number from `low` to `high`, both inclusive, where near values act alike.
struct integer {
    std::int64_t low = 0;
    std::int64_t high = 0;
};

/// One of `count` things without an order, as its index from 0.
struct choice {
    std::uint32_t count = 0;
};

/// What a gene may be. Genes are doubles; integers and choices are whole numbers.
using variable = std::variant<real, integer, choice>;

/// What a genome is worth.
struct evaluation {
    /// One value for each objective, smaller being better.
    std::vector<double> objectives;
    /// By how much constraints are violated in total; 0 when all are met.
    double violation = 0;
};

/// What to optimise.
struct problem {
    std::vector<variable> variables;
    std::size_t objective_count = 0;
    /// Runs on the thread that called nsga2(). What it throws stops the run and comes out of it.
    std::function<evaluation(const std::vector<double> &genes)> evaluate;
};

/// Parameters of NSGA-II.
struct nsga2_config {
    std::uint32_t population;
    std::uint32_t generations;
    double crossover_probability;
    double crossover_eta;
    /// Without it, one gene in each child mutates on average.
    std::optional<double> mutation_probability;
    double mutation_eta;

    /// The usual parameters.
    nsga2_config() {
        const auto usual = detail::fill<fog_nsga2_config>(fog_nsga2_config_default);
        population = usual.population;
        generations = usual.generations;
        crossover_probability = usual.crossover_probability;
        crossover_eta = usual.crossover_eta;
        if (usual.has_mutation_probability) {
            mutation_probability = usual.mutation_probability;
        }
        mutation_eta = usual.mutation_eta;
    }

    fog_nsga2_config native() const noexcept {
        fog_nsga2_config config{};
        config.population = population;
        config.generations = generations;
        config.crossover_probability = crossover_probability;
        config.crossover_eta = crossover_eta;
        config.has_mutation_probability = mutation_probability.has_value();
        config.mutation_probability = mutation_probability.value_or(0);
        config.mutation_eta = mutation_eta;
        return config;
    }
};

/// A solution and what it is worth.
struct individual {
    std::vector<double> genes;
    std::vector<double> objectives;
    double violation = 0;
};

/// The solutions that no other dominates, in lexicographic order of their objectives.
struct front {
    std::vector<individual> individuals;
    std::uint64_t evaluations = 0;
    std::uint32_t generations = 0;
};

namespace detail {

struct evaluation_call {
    const problem *what;
    std::vector<double> genes;
    std::exception_ptr thrown;

    static std::int32_t run(void *user_data, const double *genes, std::size_t gene_count,
                            double *objectives, std::size_t objective_count,
                            double *violation) noexcept {
        auto &call = *static_cast<evaluation_call *>(user_data);
        try {
            call.genes.assign(genes, genes + gene_count);
            const evaluation worth = call.what->evaluate(call.genes);
            if (worth.objectives.size() != objective_count) {
                throw invalid_problem("an evaluation has another number of objectives");
            }
            std::copy(worth.objectives.begin(), worth.objectives.end(), objectives);
            *violation = worth.violation;
            return 0;
        } catch (...) {
            call.thrown = std::current_exception();
            return 1;
        }
    }
};

inline fog_variable native(const variable &any) noexcept {
    fog_variable raw{};
    if (const auto *number = std::get_if<real>(&any)) {
        raw.kind = FOG_VARIABLE_KIND_REAL;
        raw.low = number->low;
        raw.high = number->high;
    } else if (const auto *whole = std::get_if<integer>(&any)) {
        raw.kind = FOG_VARIABLE_KIND_INTEGER;
        raw.integer_low = whole->low;
        raw.integer_high = whole->high;
    } else if (const auto *one_of = std::get_if<choice>(&any)) {
        raw.kind = FOG_VARIABLE_KIND_CHOICE;
        raw.count = one_of->count;
    }
    return raw;
}

} // namespace detail

/// Minimises a problem with NSGA-II. One seed gives one front, on every platform.
///
/// `initial` holds genomes to start from; the rest of the first population is random.
inline front nsga2(const problem &what, const nsga2_config &config = {},
                   const std::vector<std::vector<double>> &initial = {}, std::uint64_t seed = 0) {
    if (!what.evaluate) {
        throw invalid_argument("the problem has no evaluate");
    }
    std::vector<fog_variable> variables;
    for (const auto &any : what.variables) {
        variables.push_back(detail::native(any));
    }
    std::vector<double> genes;
    for (const auto &genome : initial) {
        if (genome.size() != variables.size()) {
            throw invalid_problem("a first genome has another number of genes than the problem");
        }
        genes.insert(genes.end(), genome.begin(), genome.end());
    }
    detail::evaluation_call call{&what, {}, nullptr};
    const fog_problem raw{variables.data(), variables.size(), what.objective_count,
                          detail::evaluation_call::run, &call};
    const fog_nsga2_config parameters = config.native();
    fog_front *out = nullptr;
    const fog_status status =
        fog_nsga2(&raw, &parameters, genes.data(), initial.size(), seed, &out);
    const detail::handle<fog_front, fog_front_free> found(out);
    detail::check(status, call.thrown);
    front result;
    result.evaluations = fog_front_evaluations(found.get());
    result.generations = fog_front_generations(found.get());
    for (std::size_t i = 0; i < fog_front_size(found.get()); i++) {
        const auto one = detail::fill<fog_individual>(
            [&](fog_individual *each) { return fog_front_individual(found.get(), i, each); });
        result.individuals.push_back({{one.genes, one.genes + one.gene_count},
                                      {one.objectives, one.objectives + one.objective_count},
                                      one.violation});
    }
    return result;
}

// ---- placement --------------------------------------------------------------------------------

/// How urgent something is.
enum class priority : std::int32_t {
    critical = FOG_PRIORITY_CRITICAL,
    high = FOG_PRIORITY_HIGH,
    normal = FOG_PRIORITY_NORMAL,
    low = FOG_PRIORITY_LOW,
    bulk = FOG_PRIORITY_BULK,
};

/// How jobs share a node.
enum class sharing : std::int32_t {
    /// All jobs run at once: together they must fit what is free.
    concurrent = FOG_SHARING_CONCURRENT,
    /// Jobs queue: each alone must fit what is free.
    queued = FOG_SHARING_QUEUED,
};

/// A job to be placed.
struct job {
    /// 32 hexadecimal digits.
    std::string id;
    /// Processor it needs, in thousandths of a core.
    std::uint64_t cpu_millis = 0;
    std::uint64_t memory_bytes = 0;
    /// How long it runs on a node of speed 1.
    std::uint64_t duration_ms = 0;
    fogcompute::priority priority = fogcompute::priority::normal;
    /// Least trust of its node, 0 to 1.
    double min_trust = 0;
    /// Most it may cost, in base units.
    std::optional<std::uint64_t> max_cost;
    /// Highest latency of its node.
    std::optional<double> max_latency_ms;
    /// Nodes it must not run on.
    std::vector<std::string> excluded;
};

/// A node that takes jobs.
struct node {
    /// 64 hexadecimal digits.
    std::string id;
    /// Processor that is free, in thousandths of a core.
    std::uint64_t cpu_millis_free = 0;
    /// Processor there is, in thousandths of a core.
    std::uint64_t cpu_millis_total = 0;
    std::uint64_t memory_bytes_free = 0;
    /// How fast it is: a job takes its duration divided by this.
    double speed = 1;
    /// Time to reach it and back.
    double latency_ms = 0;
    /// How far it is trusted, 0 to 1.
    double trust = 0;
    /// Price of one core for one second, in base units.
    std::uint64_t price_per_cpu_second = 0;
};

/// The placement nearest to the best of every objective.
struct knee {};

/// The placement with the least weighted sum of objectives.
struct weights {
    std::array<double, FOG_OBJECTIVE_COUNT> values{};
};

/// The placement that is best by the first objective named, of equals the best by the second, and
/// so on.
struct lexicographic {
    std::array<std::size_t, FOG_OBJECTIVE_COUNT> order{};
};

/// How one placement is chosen among those that nothing beats.
using preference = std::variant<knee, weights, lexicographic>;

/// Where one job runs.
struct assignment {
    std::string job;
    std::string node;
};

/// One placement of all jobs.
struct point {
    /// In the order in which jobs were given.
    std::vector<fogcompute::assignment> assignment;
    /// Completion in milliseconds, imbalance, distrust, cost.
    std::array<double, FOG_OBJECTIVE_COUNT> objectives{};
    /// What it costs, in base units.
    std::string cost;
};

/// Placements that no other beats, and the one chosen.
struct plan {
    /// Never empty.
    std::vector<point> front;
    std::size_t chosen_index = 0;
    /// What the chosen placement gives up against the best found, for people.
    std::string explanation;

    const point &chosen() const { return front.at(chosen_index); }
};

namespace detail {

inline fog_preference native(const preference &any) noexcept {
    fog_preference raw{};
    raw.kind = FOG_PREFERENCE_KIND_KNEE;
    if (const auto *weighted = std::get_if<weights>(&any)) {
        raw.kind = FOG_PREFERENCE_KIND_WEIGHTS;
        std::copy(weighted->values.begin(), weighted->values.end(), raw.weights);
    } else if (const auto *ordered = std::get_if<lexicographic>(&any)) {
        raw.kind = FOG_PREFERENCE_KIND_LEXICOGRAPHIC;
        std::copy(ordered->order.begin(), ordered->order.end(), raw.order);
    }
    return raw;
}

inline point read_point(const fog_plan *from, std::size_t index) {
    const auto raw =
        fill<fog_point>([&](fog_point *out) { return fog_plan_point(from, index, out); });
    point result;
    result.cost = raw.cost.text;
    std::copy(std::begin(raw.objectives), std::end(raw.objectives), result.objectives.begin());
    for (std::size_t i = 0; i < raw.assignment_count; i++) {
        const auto placed = fill<fog_assignment>([&](fog_assignment *out) {
            return fog_plan_assignment(from, index, i, out);
        });
        result.assignment.push_back({placed.job, placed.node});
    }
    return result;
}

} // namespace detail

/// Places jobs on nodes with NSGA-II and chooses one placement. One seed gives one plan.
inline plan place(const std::vector<job> &jobs, const std::vector<node> &nodes, sharing how,
                  const nsga2_config &config = {}, const preference &preferred = knee{},
                  std::uint64_t seed = 0) {
    std::vector<std::vector<const char *>> excluded(jobs.size());
    std::vector<fog_job> raw_jobs(jobs.size());
    for (std::size_t i = 0; i < jobs.size(); i++) {
        for (const auto &id : jobs[i].excluded) {
            excluded[i].push_back(id.c_str());
        }
        fog_job &raw = raw_jobs[i];
        raw.id = jobs[i].id.c_str();
        raw.cpu_millis = jobs[i].cpu_millis;
        raw.memory_bytes = jobs[i].memory_bytes;
        raw.duration_ms = jobs[i].duration_ms;
        raw.priority = static_cast<std::int32_t>(jobs[i].priority);
        raw.min_trust = jobs[i].min_trust;
        raw.has_max_cost = jobs[i].max_cost.has_value();
        raw.max_cost = jobs[i].max_cost.value_or(0);
        raw.has_max_latency_ms = jobs[i].max_latency_ms.has_value();
        raw.max_latency_ms = jobs[i].max_latency_ms.value_or(0);
        raw.excluded = excluded[i].data();
        raw.excluded_count = excluded[i].size();
    }
    std::vector<fog_node> raw_nodes;
    for (const auto &each : nodes) {
        raw_nodes.push_back({each.id.c_str(), each.cpu_millis_free, each.cpu_millis_total,
                             each.memory_bytes_free, each.speed, each.latency_ms, each.trust,
                             each.price_per_cpu_second});
    }
    const fog_nsga2_config parameters = config.native();
    const fog_preference raw_preference = detail::native(preferred);
    const auto found = detail::take<detail::handle<fog_plan, fog_plan_free>>([&](fog_plan **out) {
        return fog_place(raw_jobs.data(), raw_jobs.size(), raw_nodes.data(), raw_nodes.size(),
                         static_cast<std::int32_t>(how), &parameters, &raw_preference, seed, out);
    });
    plan result;
    for (std::size_t i = 0; i < fog_plan_size(found.get()); i++) {
        result.front.push_back(detail::read_point(found.get(), i));
    }
    result.chosen_index = fog_plan_chosen(found.get());
    const auto text = detail::take<detail::handle<char, fog_string_free>>(
        [&](char **out) { return fog_plan_explain(found.get(), out); });
    result.explanation = text.get();
    return result;
}

// ---- ledger -----------------------------------------------------------------------------------

/// What an account may do.
enum class account_kind : std::int32_t {
    /// Puts credits out and takes them back: it may give more than it received.
    issuer = FOG_ACCOUNT_KIND_ISSUER,
    /// Holds what it was given.
    holder = FOG_ACCOUNT_KIND_HOLDER,
};

/// An account: its counters since it was opened, decimal text of base units.
struct account {
    std::string id;
    account_kind kind = account_kind::holder;
    /// What may be transferred or reserved from it now.
    std::string available;
    std::string credits_posted;
    std::string debits_posted;
    std::string credits_pending;
    std::string debits_pending;
};

/// What became of an operation.
struct receipt {
    /// Number of the entry in the history that it made, now or when it was first asked for.
    std::uint64_t sequence = 0;
    /// It was done before: nothing moved this time.
    bool replayed = false;
};

/// What a check of the history went through.
struct verification {
    std::uint64_t entries = 0;
    std::size_t accounts = 0;
    std::size_t open_reservations = 0;
};

/// Double-entry credits in a file, or in memory. Every call is one transaction; the calls of
/// several threads take turns.
///
/// Identifiers are 32 hexadecimal digits, chosen by the caller; amounts decimal text of base units.
/// Asking again for the same operation under the same identifier moves nothing and succeeds.
class ledger {
public:
    /// Opens a ledger's file, or makes it.
    static ledger open(const std::string &path) {
        return ledger(detail::take<handle>(
            [&](fog_ledger **out) { return fog_ledger_open(path.c_str(), out); }));
    }

    /// A ledger that ends with this object.
    static ledger in_memory() { return ledger(detail::take<handle>(fog_ledger_in_memory)); }

    /// Opens an account for credits.
    receipt open_account(const std::string &id, account_kind kind) const {
        return done([&](fog_receipt *out) {
            return fog_ledger_open_account(handle_.get(), id.c_str(),
                                           static_cast<std::int32_t>(kind), out);
        });
    }

    /// Moves an amount from one account to another. From an issuer it mints, to one it burns.
    receipt transfer(const std::string &id, const std::string &from, const std::string &to,
                     const std::string &amount) const {
        return done([&](fog_receipt *out) {
            return fog_ledger_transfer(handle_.get(), id.c_str(), from.c_str(), to.c_str(),
                                       amount.c_str(), out);
        });
    }

    /// Holds an amount back for a later post() or void_().
    receipt reserve(const std::string &id, const std::string &from, const std::string &to,
                    const std::string &amount) const {
        return done([&](fog_receipt *out) {
            return fog_ledger_reserve(handle_.get(), id.c_str(), from.c_str(), to.c_str(),
                                      amount.c_str(), out);
        });
    }

    /// Moves a reserved amount, or part of it; what is left is released.
    receipt post(const std::string &id, const std::string &reservation,
                 const std::optional<std::string> &amount = std::nullopt) const {
        return done([&](fog_receipt *out) {
            return fog_ledger_post(handle_.get(), id.c_str(), reservation.c_str(),
                                   amount ? amount->c_str() : nullptr, out);
        });
    }

    /// Releases a reservation. (`void` is a word of the language.)
    receipt void_(const std::string &id, const std::string &reservation) const {
        return done([&](fog_receipt *out) {
            return fog_ledger_void(handle_.get(), id.c_str(), reservation.c_str(), out);
        });
    }

    /// What may be transferred or reserved from an account now.
    std::string balance(const std::string &id) const {
        return detail::fill<fog_amount>([&](fog_amount *out) {
                   return fog_ledger_balance(handle_.get(), id.c_str(), out);
               }).text;
    }

    /// An account as it stands.
    fogcompute::account account(const std::string &id) const {
        const auto raw = detail::fill<fog_account>([&](fog_account *out) {
            return fog_ledger_account(handle_.get(), id.c_str(), out);
        });
        return {raw.id,
                static_cast<account_kind>(raw.kind),
                raw.available.text,
                raw.credits_posted.text,
                raw.debits_posted.text,
                raw.credits_pending.text,
                raw.debits_pending.text};
    }

    /// Checks the whole history against its chain of digests and the balances.
    verification verify() const {
        const auto raw = detail::fill<fog_verification>([&](fog_verification *out) {
            return fog_ledger_verify(handle_.get(), out);
        });
        return {raw.entries, raw.accounts, raw.open_reservations};
    }

    const fog_ledger *native_handle() const noexcept { return handle_.get(); }

private:
    using handle = detail::handle<fog_ledger, fog_ledger_free>;
    explicit ledger(handle raw) noexcept : handle_(std::move(raw)) {}

    template <class Call>
    static receipt done(Call &&call) {
        const auto raw = detail::fill<fog_receipt>(call);
        return {raw.sequence, raw.replayed};
    }

    handle handle_;
};

// ---- harvesting -------------------------------------------------------------------------------

/// What kind of device this is. It decides what an unknown reading means.
enum class device_class : std::int32_t {
    phone = FOG_DEVICE_CLASS_PHONE,
    laptop = FOG_DEVICE_CLASS_LAPTOP,
    desktop = FOG_DEVICE_CLASS_DESKTOP,
    server = FOG_DEVICE_CLASS_SERVER,
};

/// How the device reaches other devices.
enum class network : std::int32_t {
    unknown = FOG_NETWORK_UNKNOWN,
    offline = FOG_NETWORK_OFFLINE,
    ethernet = FOG_NETWORK_ETHERNET,
    wifi = FOG_NETWORK_WIFI,
    cellular = FOG_NETWORK_CELLULAR,
};

/// Whether the device lends compute now.
enum class verdict : std::int32_t {
    allow = FOG_VERDICT_ALLOW,
    throttle = FOG_VERDICT_THROTTLE,
    refuse = FOG_VERDICT_REFUSE,
};

/// Nobody could say whether there is a battery.
struct battery_unknown {};

/// The device runs on mains power only.
struct battery_absent {};

/// A battery was read.
struct battery_present {
    /// Charge in percent, 0 to 100.
    double level_percent = 0;
    /// Whether the device is connected to power.
    bool charging = false;
};

/// The device's battery.
using battery = std::variant<battery_unknown, battery_absent, battery_present>;

/// Reads the battery. Runs on the thread that asked for the decision, which rethrows what it
/// throws.
using battery_probe = std::function<fogcompute::battery()>;

/// One reading of a device's sensors. Without a value, a reading could not be taken.
struct device_state {
    fogcompute::device_class device_class = fogcompute::device_class::phone;
    std::optional<std::uint32_t> cpu_cores;
    /// Share of all processors that the owner's own work uses, 0 to 1.
    std::optional<double> cpu_load;
    std::optional<std::uint64_t> memory_total_bytes;
    std::optional<std::uint64_t> memory_available_bytes;
    fogcompute::battery battery;
    std::optional<double> battery_temperature_celsius;
    std::optional<double> temperature_celsius;
    fogcompute::network network = fogcompute::network::unknown;
    /// Whether the network is paid for by volume.
    std::optional<bool> metered;
    std::optional<bool> screen_on;
    /// Time since the user last touched the device.
    std::optional<std::chrono::nanoseconds> user_idle;
    /// Local time of day in minutes since midnight, 0 to 1439.
    std::optional<std::uint16_t> minute_of_day;
};

/// How much may be used. All zero when refused.
struct budget {
    /// Share of all processors together, 0 to 1.
    double cpu_share = 0;
    std::uint64_t memory_bytes = 0;
    std::uint64_t bandwidth_bits_per_second = 0;
};

/// One thing that contributed to a decision.
struct reason {
    /// A name for programs. It never changes.
    std::string code;
    /// The same for people.
    std::string text;
    /// Whether it alone is enough to refuse.
    bool objection = false;
};

/// What a policy answers about a device at one moment.
struct decision {
    fogcompute::verdict verdict = fogcompute::verdict::refuse;
    fogcompute::budget budget;
    std::vector<reason> reasons;
};

namespace detail {

inline fog_battery native(const battery &any) noexcept {
    fog_battery raw{};
    raw.kind = FOG_BATTERY_KIND_UNKNOWN;
    if (std::holds_alternative<battery_absent>(any)) {
        raw.kind = FOG_BATTERY_KIND_ABSENT;
    } else if (const auto *present = std::get_if<battery_present>(&any)) {
        raw.kind = FOG_BATTERY_KIND_PRESENT;
        raw.level_percent = present->level_percent;
        raw.charging = present->charging;
    }
    return raw;
}

template <class To, class From>
void put(bool &has, To &to, const std::optional<From> &from) noexcept {
    has = from.has_value();
    if (from) {
        to = *from;
    }
}

inline fog_device_state native(const device_state &state) {
    fog_device_state raw{};
    raw.device_class = static_cast<std::int32_t>(state.device_class);
    put(raw.has_cpu_cores, raw.cpu_cores, state.cpu_cores);
    put(raw.has_cpu_load, raw.cpu_load, state.cpu_load);
    put(raw.has_memory_total_bytes, raw.memory_total_bytes, state.memory_total_bytes);
    put(raw.has_memory_available_bytes, raw.memory_available_bytes,
        state.memory_available_bytes);
    raw.battery = native(state.battery);
    put(raw.has_battery_temperature_celsius, raw.battery_temperature_celsius,
        state.battery_temperature_celsius);
    put(raw.has_temperature_celsius, raw.temperature_celsius, state.temperature_celsius);
    raw.network = static_cast<std::int32_t>(state.network);
    put(raw.has_metered, raw.metered, state.metered);
    put(raw.has_screen_on, raw.screen_on, state.screen_on);
    raw.has_user_idle_ns = state.user_idle.has_value();
    raw.user_idle_ns = nanoseconds(state.user_idle.value_or(std::chrono::nanoseconds(0)));
    put(raw.has_minute_of_day, raw.minute_of_day, state.minute_of_day);
    return raw;
}

struct probe_call {
    const battery_probe *probe;
    std::exception_ptr thrown;

    static std::int32_t run(void *user_data, fog_battery *out) noexcept {
        auto &call = *static_cast<probe_call *>(user_data);
        try {
            *out = native((*call.probe)());
            return 0;
        } catch (...) {
            call.thrown = std::current_exception();
            return 1;
        }
    }
};

using decision_handle = handle<fog_decision, fog_decision_free>;

inline decision read_decision(const decision_handle &from) {
    decision result;
    result.verdict = static_cast<verdict>(fog_decision_verdict(from.get()));
    const auto raw = fill<fog_budget>(
        [&](fog_budget *out) { return fog_decision_budget(from.get(), out); });
    result.budget = {raw.cpu_share, raw.memory_bytes, raw.bandwidth_bits_per_second};
    for (std::size_t i = 0; i < fog_decision_reason_count(from.get()); i++) {
        const auto one = fill<fog_reason>(
            [&](fog_reason *out) { return fog_decision_reason(from.get(), i, out); });
        result.reasons.push_back({one.code, one.text, one.objection});
    }
    return result;
}

} // namespace detail

/// What the owner of a device permits.
class harvest_policy {
public:
    /// The policy that suits a phone which charges at night.
    harvest_policy() : handle_(detail::take<handle>(fog_harvest_policy_default)) {}

    /// The policy that always allows, and still names what the default would have objected to.
    static harvest_policy always() {
        return harvest_policy(detail::take<handle>(fog_harvest_policy_always));
    }

    /// Reads a policy from TOML. What it does not name keeps its default.
    static harvest_policy from_toml(const std::string &text) {
        return harvest_policy(detail::take<handle>([&](fog_harvest_policy **out) {
            return fog_harvest_policy_from_toml(text.c_str(), out);
        }));
    }

    /// Decides on readings that were taken just now.
    decision decide(const device_state &state) const {
        const fog_device_state raw = detail::native(state);
        return detail::read_decision(
            detail::take<detail::decision_handle>([&](fog_decision **out) {
                return fog_harvest_policy_decide(handle_.get(), &raw, out);
            }));
    }

    /// The same with the battery read by `probe`.
    decision decide_with_probe(const device_state &state, const battery_probe &probe) const {
        if (!probe) {
            throw invalid_argument("the probe is empty");
        }
        const fog_device_state raw = detail::native(state);
        detail::probe_call call{&probe, nullptr};
        const fog_battery_probe raw_probe{detail::probe_call::run, &call};
        fog_decision *out = nullptr;
        const fog_status status =
            fog_harvest_policy_decide_with_probe(handle_.get(), &raw, &raw_probe, &out);
        const detail::decision_handle decided(out);
        detail::check(status, call.thrown);
        return detail::read_decision(decided);
    }

    const fog_harvest_policy *native_handle() const noexcept { return handle_.get(); }

private:
    using handle = detail::handle<fog_harvest_policy, fog_harvest_policy_free>;
    explicit harvest_policy(handle raw) noexcept : handle_(std::move(raw)) {}
    handle handle_;
};

// ---- fog --------------------------------------------------------------------------------------

/// How a fog is made. Amounts are decimal text of base units.
struct fog_config {
    /// Worker threads, each a node of its own.
    std::size_t workers;
    /// What the fog's owner starts with, to pay its workers from.
    std::string endowment;
    /// What a worker asks for 10^9 fuel.
    std::string price_per_gigafuel;
    /// Memory each worker lends.
    std::uint64_t memory_bytes;
    /// Seed of the optimiser that places tasks.
    std::uint64_t seed;

    /// The usual configuration.
    fog_config() {
        const auto usual = detail::fill<fog_fog_config>(fog_fog_config_default);
        workers = usual.workers;
        endowment = usual.endowment.text;
        price_per_gigafuel = usual.price_per_gigafuel.text;
        memory_bytes = usual.memory_bytes;
        seed = usual.seed;
    }
};

/// What one task may use before it is stopped.
struct limits {
    /// Work, in units of fuel; about one per simple instruction.
    std::uint64_t fuel;
    /// Linear memory and tables together: 64 KiB to 4 GiB.
    std::uint64_t memory_bytes;
    /// Output: at most 1 MiB.
    std::uint64_t output_bytes;

    /// The usual limits.
    limits() {
        const auto usual = detail::fill<fog_limits>(fog_limits_default);
        fuel = usual.fuel;
        memory_bytes = usual.memory_bytes;
        output_bytes = usual.output_bytes;
    }
};

/// What a task used.
struct usage {
    std::uint64_t fuel = 0;
    std::uint64_t memory_bytes_peak = 0;
    std::chrono::nanoseconds wall{0};
};

/// What a task returned.
struct task_output {
    bytes output;
    fogcompute::usage usage;
};

/// What a fog has done so far. Amounts are decimal text of base units.
struct fog_statistics {
    std::uint64_t succeeded = 0;
    std::uint64_t failed = 0;
    std::string available;
    std::string paid;
};

namespace detail {

inline task_output read_output(const fog_output *from) {
    const auto raw =
        fill<fog_usage>([&](fog_usage *out) { return fog_output_usage(from, out); });
    const std::uint8_t *data = fog_output_data(from);
    return {bytes(data, data + fog_output_len(from)),
            {raw.fuel, raw.memory_bytes_peak, std::chrono::nanoseconds(raw.wall_ns)}};
}

/// The library calls this once for each task it accepted, and so owns the promise.
inline void complete(void *user_data, fog_status status, const fog_output *output,
                     const char *message) noexcept {
    const std::unique_ptr<std::promise<task_output>> promise(
        static_cast<std::promise<task_output> *>(user_data));
    try {
        if (status != FOG_STATUS_OK) {
            raise(status, message);
        }
        promise->set_value(read_output(output));
    } catch (...) {
        try {
            promise->set_exception(std::current_exception());
        } catch (...) {
            // The promise is destroyed without a value, which the future reports.
        }
    }
}

inline fog_limits native(const limits &from) noexcept {
    return {from.fuel, from.memory_bytes, from.output_bytes};
}

inline fog_amount native_amount(const std::string &digits, const char *name) {
    fog_amount amount{};
    if (digits.size() >= sizeof amount.text) {
        throw invalid_argument(std::string(name) + " has too many digits");
    }
    std::copy(digits.begin(), digits.end(), amount.text);
    return amount;
}

} // namespace detail

/// A task that was submitted.
class task {
public:
    /// Waits for the output, or throws why there is none. Once only.
    task_output get() { return result_.get(); }

    /// The future itself, to wait for with a timeout or to move elsewhere.
    std::future<task_output> &future() noexcept { return result_; }

    /// Asks the task to stop: it ends with `cancelled` unless it ends otherwise first.
    void cancel() const { detail::check(fog_task_cancel(handle_.get())); }

    /// The task's identifier.
    std::string id() const {
        return detail::fill<fog_id>([&](fog_id *out) { return fog_task_id(handle_.get(), out); })
            .text;
    }

    const fog_task *native_handle() const noexcept { return handle_.get(); }

private:
    friend class fog;
    using handle = detail::handle<fog_task, fog_task_free>;
    task(handle raw, std::future<task_output> result) noexcept
        : handle_(std::move(raw)), result_(std::move(result)) {}
    handle handle_;
    std::future<task_output> result_;
};

/// A fog inside this process: a coordinator, worker threads with WebAssembly sandboxes, and a
/// ledger in memory. Destroying it ends its tasks with `closed` or `cancelled`.
class fog {
public:
    /// Starts a fog.
    explicit fog(const fog_config &config = {})
        : handle_(detail::take<handle>([&](fog_fog **out) {
              fog_fog_config raw{};
              raw.workers = config.workers;
              raw.endowment = detail::native_amount(config.endowment, "endowment");
              raw.price_per_gigafuel =
                  detail::native_amount(config.price_per_gigafuel, "price_per_gigafuel");
              raw.memory_bytes = config.memory_bytes;
              raw.seed = config.seed;
              return fog_fog_new(&raw, out);
          })) {}

    /// Runs a WebAssembly task and waits for its output.
    task_output run(bytes_view module, bytes_view input, const limits &within = {}) const {
        const fog_limits raw = detail::native(within);
        const auto output = detail::take<detail::handle<fog_output, fog_output_free>>(
            [&](fog_output **out) {
                return fog_fog_run(handle_.get(), module.data(), module.size(), input.data(),
                                   input.size(), &raw, out);
            });
        return detail::read_output(output.get());
    }

    /// Hands in a WebAssembly task and returns at once.
    task submit(bytes_view module, bytes_view input, const limits &within = {}) const {
        const fog_limits raw = detail::native(within);
        auto promise = std::make_unique<std::promise<task_output>>();
        auto result = promise->get_future();
        auto submitted = detail::take<task::handle>([&](fog_task **out) {
            return fog_fog_submit(handle_.get(), module.data(), module.size(), input.data(),
                                  input.size(), &raw, detail::complete, promise.get(), out);
        });
        // Accepted: the callback destroys the promise, and may have done so already.
        static_cast<void>(promise.release());
        return task(std::move(submitted), std::move(result));
    }

    /// What the fog has done so far.
    fog_statistics stats() const {
        const auto raw = detail::fill<fog_stats>(
            [&](fog_stats *out) { return fog_fog_stats(handle_.get(), out); });
        return {raw.succeeded, raw.failed, raw.available.text, raw.paid.text};
    }

    /// Stops the fog. Closing again does nothing.
    void close() const { detail::check(fog_fog_close(handle_.get())); }

    const fog_fog *native_handle() const noexcept { return handle_.get(); }

private:
    using handle = detail::handle<fog_fog, fog_fog_free>;
    handle handle_;
};

} // namespace fogcompute

#endif // FOGCOMPUTE_HPP
