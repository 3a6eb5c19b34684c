// Times oneDNN's batch normalization and prints a JSON line for each operation. The outputs are preallocated, on huge
// pages where the system has them; making the primitive is outside the clock. OMP_NUM_THREADS sets the threads.
//
//     onednn --shape 32x64x56x56 --op forward,backward,eval --layout channels-first --seconds 0.2

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "dnnl.hpp"

using namespace dnnl;
using dim = memory::dim;
using tag = memory::format_tag;

constexpr float EPS = 1e-5f;
constexpr double WARM_UP = 0.25;
constexpr size_t HUGE_PAGE = size_t(1) << 21;

std::vector<std::string> split(const std::string &text, char separator) {
    std::vector<std::string> parts;
    std::stringstream stream(text);
    for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
    return parts;
}

struct Row {
    std::string shape, op, layout = "channels-first", dtype = "f32";
    int threads = 1;
    memory::dims dims;

    bool last() const { return layout == "channels-last"; }
    dim channels() const { return dims[1]; }
    dim spatial() const {
        dim product = 1;
        for (size_t axis = 2; axis < dims.size(); axis++) product *= dims[axis];
        return product;
    }
    size_t place(dim sample, dim channel, dim position) const {
        return last() ? (sample * spatial() + position) * channels() + channel
                      : (sample * channels() + channel) * spatial() + position;
    }
    memory::desc tensor() const {
        static const tag first[] = {tag::nc, tag::ncw, tag::nchw, tag::ncdhw};
        static const tag last_[] = {tag::nc, tag::nwc, tag::nhwc, tag::ndhwc};
        auto type = dtype == "bf16" ? memory::data_type::bf16 : memory::data_type::f32;
        return {dims, type, (last() ? last_ : first)[dims.size() - 2]};
    }
    memory::desc vector() const { return {{channels()}, memory::data_type::f32, tag::a}; }
};

memory allocated(const memory::desc &about, const engine &cpu) {
    size_t bytes = (about.get_size() + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    void *start = std::aligned_alloc(HUGE_PAGE, bytes);
    if (!start) throw std::runtime_error("no memory");
    madvise(start, bytes, MADV_HUGEPAGE);
    std::memset(start, 0, bytes);
    return memory(about, cpu, start);
}

void put(memory &to, const std::vector<float> &values) {
    if (to.get_desc().get_data_type() == memory::data_type::f32) {
        std::memcpy(to.get_data_handle(), values.data(), 4 * values.size());
        return;
    }
    auto *half = static_cast<uint16_t *>(to.get_data_handle());
    for (size_t place = 0; place < values.size(); place++) {
        uint32_t bits;
        std::memcpy(&bits, &values[place], 4);
        half[place] = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    }
}

float get(const memory &from, size_t place) {
    if (from.get_desc().get_data_type() == memory::data_type::f32)
        return static_cast<float *>(from.get_data_handle())[place];
    uint32_t bits = uint32_t(static_cast<uint16_t *>(from.get_data_handle())[place]) << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

// Uniform in [-1, 2).
std::vector<float> uniform(size_t length, uint64_t state) {
    std::vector<float> values(length);
    for (auto &value : values) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        value = float(state >> 40) / float(1 << 24) * 3 - 1;
    }
    return values;
}

// One row's memory and primitives.
struct Problem {
    Row row;
    engine cpu{engine::kind::cpu, 0};
    stream queue{cpu};
    memory x, y, dx, dy, mean, variance, gamma, beta, dgamma, dbeta;
    primitive timed;
    std::unordered_map<int, memory> arguments;
    std::string kernel;

    Problem(const Row &row) : row(row) {
        auto tensor = row.tensor(), vector = row.vector();
        for (auto *of : {&x, &y, &dx, &dy}) *of = allocated(tensor, cpu);
        for (auto *of : {&mean, &variance, &gamma, &beta, &dgamma, &dbeta}) *of = allocated(vector, cpu);
        size_t length = row.dims[0] * row.channels() * row.spatial();
        put(x, uniform(length, 1));
        put(dy, uniform(length, 2));
        fill(gamma, 7, 0.5f), fill(beta, 5, -0.4f), fill(mean, 3, 0), fill(variance, 4, 0.5f);

        auto flags = normalization_flags::use_scale | normalization_flags::use_shift;
        bool eval = row.op == "eval";
        if (eval) flags = flags | normalization_flags::use_global_stats;
        auto kind = eval ? prop_kind::forward_inference : prop_kind::forward_training;
        batch_normalization_forward::primitive_desc forward(cpu, kind, tensor, tensor, EPS, flags);
        arguments = {{DNNL_ARG_SRC, x}, {DNNL_ARG_DST, y}, {DNNL_ARG_MEAN, mean}, {DNNL_ARG_VARIANCE, variance},
                     {DNNL_ARG_SCALE, gamma}, {DNNL_ARG_SHIFT, beta}};
        timed = batch_normalization_forward(forward);
        kernel = forward.impl_info_str();
        if (row.op != "backward") return;
        call();
        batch_normalization_backward::primitive_desc backward(
            cpu, prop_kind::backward, tensor, tensor, tensor, EPS, flags, forward);
        arguments = {{DNNL_ARG_SRC, x}, {DNNL_ARG_MEAN, mean}, {DNNL_ARG_VARIANCE, variance},
                     {DNNL_ARG_SCALE, gamma}, {DNNL_ARG_DIFF_DST, dy}, {DNNL_ARG_DIFF_SRC, dx},
                     {DNNL_ARG_DIFF_SCALE, dgamma}, {DNNL_ARG_DIFF_SHIFT, dbeta}};
        timed = batch_normalization_backward(backward);
        kernel = backward.impl_info_str();
    }

    ~Problem() {
        for (auto *of : {&x, &y, &dx, &dy, &mean, &variance, &gamma, &beta, &dgamma, &dbeta})
            std::free(of->get_data_handle());
    }

    void fill(memory &vector, int cycle, float low) {
        std::vector<float> values(row.channels());
        for (size_t channel = 0; channel < values.size(); channel++)
            values[channel] = low + float(channel % cycle) / cycle;
        put(vector, values);
    }

    void call() {
        timed.execute(queue, arguments);
        queue.wait();
    }

    // The largest error of the answer in up to 16 channels, as a share of the largest value.
    double off() {
        call();
        double worst = 0, largest = 0, count = double(row.dims[0]) * row.spatial();
        for (dim channel = 0; channel < row.channels(); channel += std::max<dim>(1, row.channels() / 16)) {
            auto each = [&](auto what) {
                for (dim sample = 0; sample < row.dims[0]; sample++)
                    for (dim position = 0; position < row.spatial(); position++)
                        what(row.place(sample, channel, position));
            };
            double center = get(mean, channel), square = get(variance, channel);
            if (row.op != "eval") {
                center = square = 0;
                each([&](size_t at) { center += get(x, at) / count; });
                each([&](size_t at) { square += std::pow(get(x, at) - center, 2) / count; });
            }
            double rstd = 1 / std::sqrt(square + EPS), sum = 0, product = 0;
            each([&](size_t at) { sum += get(dy, at) / count; });
            each([&](size_t at) { product += get(dy, at) * (get(x, at) - center) * rstd / count; });
            each([&](size_t at) {
                double xhat = (get(x, at) - center) * rstd, scale = get(gamma, channel);
                double expected = row.op == "backward" ? scale * rstd * (get(dy, at) - sum - xhat * product)
                                                       : scale * xhat + get(beta, channel);
                double difference = std::abs(get(row.op == "backward" ? dx : y, at) - expected);
                worst = difference <= worst ? worst : difference;
                largest = std::max(largest, std::abs(expected));
            });
        }
        return worst / largest;
    }
};

std::string figures(const Row &row, double seconds, bool check) {
    using clock = std::chrono::steady_clock;
    auto since = [](clock::time_point start) { return std::chrono::duration<double>(clock::now() - start).count(); };
    Problem problem(row);
    double off = check ? problem.off() : 0;
    if (!(off <= (row.dtype == "bf16" ? 2e-2 : 1e-3))) return "\"error\":\"wrong answer\"";
    auto start = clock::now();
    do problem.call();
    while (since(start) < WARM_UP * seconds);
    std::vector<double> times;
    do {
        auto before = clock::now();
        problem.call();
        times.push_back(1e6 * since(before));
    } while (since(start) < seconds);
    std::sort(times.begin(), times.end());
    char text[200];
    std::snprintf(text, sizeof text, "\"median_us\":%.3f,\"min_us\":%.3f,\"calls\":%zu,\"kernel\":\"%s\"",
                  times[times.size() / 2], times[0], times.size(), problem.kernel.c_str());
    return text;
}

int main(int count, char **words) {
    Row row;
    double seconds = 0.2;
    bool check = false;
    std::vector<std::string> ops = {"forward", "backward", "eval"};
    for (int at = 1; at < count; at++) {
        std::string word = words[at], value = at + 1 < count ? words[at + 1] : "";
        if (word == "--version") {
            auto v = dnnl_version();
            return std::printf("onednn %d.%d.%d\n", v->major, v->minor, v->patch), 0;
        } else if (word == "--check") {
            check = true;
            continue;
        } else if (word == "bench" || word == "--no-reference" || word == "--json") {
            continue;
        } else if (word == "--shape") {
            row.shape = value;
        } else if (word == "--op") {
            ops = split(value, ',');
        } else if (word == "--layout") {
            row.layout = value;
        } else if (word == "--dtype") {
            row.dtype = value;
        } else if (word == "--threads") {
            row.threads = std::atoi(value.c_str());
        } else if (word == "--seconds") {
            seconds = std::atof(value.c_str());
        } else {
            return std::fprintf(stderr, "error: %s: no such argument\n", word.c_str()), 2;
        }
        at++;
    }
    for (auto &size : split(row.shape, 'x')) row.dims.push_back(std::atoll(size.c_str()));
    for (auto &op : ops) {
        row.op = op;
        std::string told;
        try {
            told = figures(row, seconds, check);
        } catch (const std::exception &problem) {
            told = std::string("\"error\":\"") + problem.what() + "\"";
        }
        std::printf("{\"peer\":\"onednn\",\"op\":\"%s\",\"dtype\":\"%s\",\"layout\":\"%s\",\"shape\":\"%s\",\"threads\":%d,%s}\n",
                    op.c_str(), row.dtype.c_str(), row.last() ? "channels_last" : "channels_first", row.shape.c_str(),
                    row.threads, told.c_str());
    }
}
