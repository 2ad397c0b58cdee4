// Opens a fog of three processes on this machine, kills one while it works, and gets every result.
//
//     c++ -std=c++17 fog.cpp $(pkg-config --cflags --libs fogcompute) -o fog
//     ./fog ../wasm/words.wasm
//
// This process is the coordinator, the mixnode and who submits; it starts itself again as two nodes
// that compute. Each node could as well be on another machine.

#include <fogcompute.hpp>

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <limits>
#include <system_error>

namespace fc = fogcompute;
namespace co = fc::coordination;

extern char **environ;

static constexpr int NODES = 2;

// Is a node until it is killed, or who started it is gone: then its input ends.
static void compute(const std::string &coordinator, const std::string &id, const std::string &data) {
    const auto always = fc::harvest_policy::always();
    co::node_options options;
    options.policy = &always;
    options.nodes_on_machine = NODES;
    const co::node node(coordinator, id, data, options);
    node.joined().get();
    std::cout << "joined" << std::endl;
    std::cin.ignore(std::numeric_limits<std::streamsize>::max());
}

// For calls of the system that say what went wrong by errno.
static void must(bool is_done, const char *what) {
    if (!is_done) {
        throw std::system_error(errno, std::generic_category(), what);
    }
}

// Nodes that compute, in processes of their own.
class processes {
public:
    processes(std::string program, std::string coordinator, std::string id,
              const std::string &folder) {
        const auto [input, alive] = make_pipe();
        const auto [said, output] = make_pipe();
        alive_ = alive;
        said_ = said;
        posix_spawn_file_actions_t actions;
        must(posix_spawn_file_actions_init(&actions) == 0, "posix_spawn_file_actions_init");
        posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
        posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
        for (auto &process : started_) {
            std::string data = folder + "/node-" + std::to_string(&process - started_);
            char *arguments[] = {program.data(), coordinator.data(), id.data(), data.data(), nullptr};
            must(posix_spawn(&process, program.c_str(), &actions, nullptr, arguments, environ) == 0,
                 "posix_spawn");
        }
        posix_spawn_file_actions_destroy(&actions);
        ::close(input);
        ::close(output);
    }

    processes(const processes &) = delete;
    processes &operator=(const processes &) = delete;

    ~processes() {
        for (int i = 0; i < NODES; i++) {
            kill(i);
        }
        ::close(alive_);
        ::close(said_);
    }

    void wait_until_joined() const {
        char byte = 0;
        for (int lines = 0; lines < NODES; lines += byte == '\n') {
            must(read(said_, &byte, 1) == 1, "a node");
        }
    }

    bool lives(int which) const noexcept { return started_[which] > 0; }

    void kill(int which) noexcept {
        if (lives(which)) {
            ::kill(started_[which], SIGKILL);
            waitpid(started_[which], nullptr, 0);
            started_[which] = 0;
        }
    }

private:
    static std::pair<int, int> make_pipe() {
        int ends[2];
        must(pipe(ends) == 0, "pipe");
        for (const int end : ends) {
            must(fcntl(end, F_SETFD, FD_CLOEXEC) == 0, "fcntl");
        }
        return {ends[0], ends[1]};
    }

    pid_t started_[NODES] = {};
    // They live while this end is open, and say at the other that they have joined.
    int alive_, said_;
};

static fc::bytes read_file(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        throw std::runtime_error("cannot read " + path);
    }
    return {std::istreambuf_iterator<char>(file), {}};
}

// Watches until the job has ended, and kills a node as soon as a task has.
static void watch(const co::client &client, processes &nodes) {
    const auto watch = client.watch();
    while (true) {
        const auto event = watch.receive(std::chrono::minutes(1));
        if (!event) {
            throw std::runtime_error("nothing happens any more");
        }
        if (event->kind == FOG_FOG_EVENT_KIND_JOB_ENDED) {
            return;
        }
        if (event->kind == FOG_FOG_EVENT_KIND_ENDED && nodes.lives(0)) {
            nodes.kill(0);
            std::cout << "a process is killed" << std::endl;
        }
    }
}

static void run_fog(const std::string &program, const std::string &module,
                    const std::string &folder) {
    const co::coordinator coordinator(folder + "/fog");
    processes nodes(program, coordinator.address(), coordinator.id(), folder);
    co::node_options mixes;
    mixes.layer = 0;
    const co::node mix(coordinator.address(), coordinator.id(), folder + "/mix", mixes);
    co::token_terms terms;
    terms.actions = "submit,query,drain";
    const co::client client(coordinator.issue_token(terms));
    nodes.wait_until_joined();

    // A text for each task, of 1, 2, 3 words and so on.
    std::vector<fc::bytes> texts(20);
    const std::string word = "fog ";
    for (std::size_t i = 0; i < texts.size(); i++) {
        for (std::size_t words = 0; words <= i; words++) {
            texts[i].insert(texts[i].end(), word.begin(), word.end());
        }
    }
    const auto job = client.submit(read_file(module), texts);
    std::cout << job.open << " tasks in a fog of " << 1 + NODES << " processes" << std::endl;
    watch(client, nodes);

    const auto tasks = client.tasks(job.id);
    int right = 0;
    for (std::size_t i = 0; i < tasks.size(); i++) {
        // Eight bytes, of which the first one is enough.
        const auto output = client.result(tasks[i].id).output;
        right += output.size() == 8 && output[0] == i + 1;
    }
    std::cout << right << " texts were counted right\n";

    for (const auto &member : client.topology()) {
        if (member.layer == -1) {
            client.drain(member.id);
        }
    }
    for (const auto &member : client.topology()) {
        std::cout << member.kind << " is " << member.status << '\n';
    }
}

int main(int argc, char **argv) {
    try {
        if (argc == 4) {
            compute(argv[1], argv[2], argv[3]);
            return 0;
        }
        const std::string module = argc > 1 ? argv[1] : "examples/wasm/words.wasm";
        std::string folder = (std::filesystem::temp_directory_path() / "fog-XXXXXX").string();
        must(mkdtemp(folder.data()) != nullptr, "mkdtemp");
        run_fog(argv[0], module, folder);
        std::filesystem::remove_all(folder);
        return 0;
    } catch (const std::exception &error) {
        std::cerr << error.what() << '\n';
        return 1;
    }
}
