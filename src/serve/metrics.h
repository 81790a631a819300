// Counters, gauges and histograms, and their text for Prometheus (exposition format 0.0.4).
//
// An own small one: Debian's prometheus-cpp-dev brings two web servers along. Names are the Kubernetes model server
// protocol's meanings under `throughline_`, its own gauges also under vLLM's names. Times in seconds. Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace throughline::serve {

class Counter {  // one value for each value of its label; without a label: one
 public:
  Counter(std::string name, std::string help, std::string label = "");
  void add(double amount = 1, const std::string& label_value = "");
  double value(const std::string& label_value = "") const;
  void write(std::string& out) const;

 private:
  std::string name_, help_, label_;
  mutable std::mutex mutex_;
  std::map<std::string, double> values_;
};

class Histogram {
 public:
  Histogram(std::string name, std::string help, std::vector<double> bounds);
  void observe(double value);
  int64_t count() const;
  void write(std::string& out) const;

 private:
  std::string name_, help_;
  std::vector<double> bounds_;
  mutable std::mutex mutex_;
  std::vector<int64_t> counts_;  // one more than bounds
  double sum_ = 0;
};

void write_gauge(std::string& out, const std::string& name, const std::string& help, double value);

struct Metrics {
  Counter prompt_tokens{"throughline_prompt_tokens_total", "Prompt tokens of admitted requests."};
  Counter generation_tokens{"throughline_generation_tokens_total", "Tokens generated, thinking included."};
  Counter reasoning_tokens{"throughline_reasoning_tokens_total", "Tokens generated within thinking."};
  Counter evicted{"throughline_kv_tokens_evicted_total", "Tokens evicted from KV caches (of one layer and head).",
                  "method"};
  Counter compressions{"throughline_compressions_total", "Compression events.", "method"};
  Counter chunks{"throughline_thinking_chunks_total", "Contexts opened by thinking environments.", "method"};
  Counter requests{"throughline_requests_total", "Samples that have ended, by how.", "finish_reason"};
  Counter details{"throughline_finish_details_total", "The same, by the distinct ending.", "finish_detail"};
  Counter rejected{"throughline_rejected_total", "Requests that were not taken, by why.", "reason"};
  Counter http{"throughline_http_responses_total", "HTTP responses.", "code"};
  Histogram first_token{"throughline_time_to_first_token_seconds",
                        "From arrival to the first generated token.",
                        {.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 30, 60, 300}};
  Histogram token_gap{"throughline_inter_token_latency_seconds",
                      "Between two tokens of one sample.",
                      {.0005, .001, .0025, .005, .01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5, 10}};
  Histogram whole{"throughline_e2e_request_latency_seconds",
                  "From arrival to the end of a sample.",
                  {.05, .1, .3, .5, .8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 60, 120, 300, 600, 1800, 7200}};
  Histogram queue{"throughline_queue_time_seconds",
                  "Of a sample, waiting to be admitted.",
                  {.001, .01, .05, .1, .3, .5, 1, 2, 5, 10, 30, 60, 120, 300}};
  Histogram prompt_size{"throughline_request_prompt_tokens",
                        "Prompt tokens a request.",
                        {1, 16, 64, 256, 1024, 4096, 16384, 65536, 262144}};
  Histogram answer_size{"throughline_request_generation_tokens",
                        "Generated tokens a sample.",
                        {1, 16, 64, 256, 1024, 4096, 16384, 65536, 262144}};

  void write(std::string& out) const;
};

}  // namespace throughline::serve
