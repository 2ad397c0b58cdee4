// How fast should processors run, and how many? Finds the compromises between time and energy.
//
//     c++ -std=c++17 optimise.cpp $(pkg-config --cflags --libs fogcompute) -o optimise
#include <fogcompute.hpp>

#include <cstdio>

int main() {
    // Work that must be done in 10 seconds.
    const auto cluster = [](const std::vector<double> &genes) {
        const double clock = genes[0], nodes = genes[1];
        const double seconds = 24 / (clock * nodes) + 0.2 * nodes;
        const double joules = nodes * (1 + clock * clock * clock) * seconds;
        return fogcompute::evaluation{{seconds, joules}, seconds > 10 ? seconds - 10 : 0};
    };
    const fogcompute::problem problem{
        {fogcompute::real{0.5, 3.0}, fogcompute::integer{1, 16}}, 2, cluster};
    fogcompute::search_config config;
    config.population = 40;
    config.generations = 100;

    const auto front = fogcompute::minimize(problem, config, {}, 1);
    const auto print = [](const char *name, const fogcompute::individual &found) {
        std::printf("%s: %.0f nodes at %.1f GHz, %.1f s, %.0f J\n", name, found.genes[1],
                    found.genes[0], found.objectives[0], found.objectives[1]);
    };
    print("fastest", front.individuals.front());
    print("thriftiest", front.individuals.back());
}
