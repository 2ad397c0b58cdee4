// Which node takes which job? Three services and a job for a GPU that nobody has.
//
//     c++ -std=c++17 placement.cpp $(pkg-config --cflags --libs fogcompute) -o placement
#include <fogcompute.hpp>

#include <cstdio>

namespace fc = fogcompute;

constexpr std::uint64_t gib = std::uint64_t{1} << 30;

fc::job job(char name, std::uint64_t cpu_millis) {
    fc::job result;
    for (int i = 0; i < 16; i++) {
        result.id += {name, '0'};
    }
    result.cpu_millis = cpu_millis;
    result.memory_bytes = gib;
    result.duration_ms = 1000;
    return result;
}

fc::node node(char number, const char *zone, const char *operator_name) {
    fc::node result;
    result.id = std::string(63, '0') + number;
    result.cpu_millis_free = result.cpu_millis_total = 2000;
    result.memory_bytes_free = 4 * gib;
    result.trust = 0.9;
    result.price_per_cpu_second = static_cast<std::uint64_t>(number - '0');
    result.zone = zone;
    result.operator_name = operator_name;
    result.availability = 0.98;
    result.error_rate = 0.0005;
    return result;
}

int main() {
    std::vector<fc::job> jobs{job('a', 500), job('b', 500), job('c', 250)};
    // Gold: on three nodes in different zones that different people run.
    jobs[0].tier = fc::tier::gold;
    jobs[0].spread = jobs[1].spread = fc::job_spread{"web", fc::domain::zone, 2};
    // On the same node as the job before.
    jobs[2].affinity = {jobs[1].id};
    const std::vector<fc::node> nodes{node('1', "a", "ann"), node('2', "b", "bob"),
                                      node('3', "c", "cyd"), node('4', "a", "bob")};

    const auto plan = fc::place(jobs, nodes, fc::sharing::concurrent, {}, fc::knee{}, 1);
    for (const auto &placed : plan.chosen().assignment) {
        std::printf("%.2s on node %c\n", placed.job.c_str(), placed.node.back());
    }

    jobs.push_back(job('d', 500));
    jobs.back().gpus = 1;
    const auto partial =
        fc::place_what_fits(jobs, nodes, fc::sharing::concurrent, {}, fc::knee{}, 1);
    for (const auto &left : partial.left_out) {
        std::printf("%.2s is left out: %s\n", left.job.c_str(), left.explanation.c_str());
    }
}
