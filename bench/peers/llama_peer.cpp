// libllama as a peer of `throughline bench compare` (protocol: src/cli/bench_worker.h).
//   llama_peer MODEL.gguf BYTES_A_WEIGHT VERSION [kv type: f16|q8_0] [flash attention: 0|1]
// A depth is reached without its prefill. Batch 1: one block of 512 tokens is computed and saved, then restored again and
// again (its own cells each time), moved to the next positions and handed to sequence 0. Batch > 1: sequence 0 is computed
// and its cells are copied to the others (separate streams, so separate memory).
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "llama.h"

using Json = nlohmann::json;

static void say(const Json& line) {
  printf("%s\n", line.dump().c_str());
  fflush(stdout);
}

static void check(bool ok, const char* what) {
  if (ok) return;
  say({{"error", std::string("failed: ") + what}});
  exit(1);
}

static std::string heard() {
  char line[1000];
  check(fgets(line, sizeof line, stdin) != nullptr, "no more orders");
  line[strcspn(line, "\n")] = 0;
  return line;
}

static double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Feeds n tokens of sequence 0 or 1 from position `pos`, in one batch; logits for the last only.
static void feed(llama_context* ctx, int n, llama_seq_id seq, llama_pos pos) {
  llama_batch b = llama_batch_init(n, 0, 1);
  b.n_tokens = n;
  for (int i = 0; i < n; i++) {
    b.token[i] = 1000 + (pos + i) * 7 % 100000;
    b.pos[i] = pos + i;
    b.n_seq_id[i] = 1;
    b.seq_id[i][0] = seq;
    b.logits[i] = i == n - 1;
  }
  check(llama_decode(ctx, b) == 0, "prefill");
  llama_batch_free(b);
}

static void decode(llama_context* ctx, int n_vocab, int batch, int steps, llama_pos& pos) {
  llama_batch b = llama_batch_init(batch, 0, 1);
  std::vector<llama_token> tok(batch, 1000);
  for (int s = 0; s < steps; s++, pos++) {
    b.n_tokens = batch;
    for (int i = 0; i < batch; i++) {
      b.token[i] = tok[i];
      b.pos[i] = pos;
      b.n_seq_id[i] = 1;
      b.seq_id[i][0] = i;
      b.logits[i] = 1;
    }
    check(llama_decode(ctx, b) == 0, "decode");
    for (int i = 0; i < batch; i++) {
      const float* l = llama_get_logits_ith(ctx, i);
      int best = 0;
      for (int v = 1; v < n_vocab; v++)
        if (l[v] > l[best]) best = v;
      tok[i] = best;
    }
  }
  llama_batch_free(b);
}

int main(int argc, char** argv) {
  check(argc >= 4, "usage: llama_peer MODEL.gguf BYTES_A_WEIGHT VERSION [kv type] [flash attention]");
  const double weight_bytes = atof(argv[2]);
  const Json order = Json::parse(heard());
  const int batch = order["batch"], depth = order["depth"], tokens = order["tokens"], repeat = order["repeat"];
  const bool prefill = order["kind"] == "prefill";
  llama_log_set([](ggml_log_level level, const char* text, void*) { if (level >= GGML_LOG_LEVEL_ERROR) fputs(text, stderr); }, nullptr);
  llama_backend_init();
  llama_model* model = llama_model_load_from_file(argv[1], llama_model_default_params());
  check(model, "model");
  const int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
  llama_context_params cp = llama_context_default_params();
  cp.n_seq_max = batch == 1 ? 2 : batch;
  cp.kv_unified = batch == 1;
  cp.n_ctx = ((depth + tokens * (repeat + 1) + 8 + 255) / 256 * 256) * batch;
  cp.n_batch = 2048;
  cp.n_ubatch = 512;
  cp.n_threads = cp.n_threads_batch = order["threads"];
  const bool q8_kv = argc > 4 && !strcmp(argv[4], "q8_0");
  if (q8_kv) cp.type_k = cp.type_v = GGML_TYPE_Q8_0;
  cp.flash_attn_type = argc > 5 && !strcmp(argv[5], "0") ? LLAMA_FLASH_ATTN_TYPE_DISABLED : LLAMA_FLASH_ATTN_TYPE_ENABLED;
  llama_context* ctx = llama_init_from_model(model, cp);
  check(ctx, "context");
  llama_memory_t mem = llama_get_memory(ctx);
  llama_pos pos = depth;
  const auto whole_prompt = [&] {
    llama_memory_clear(mem, true);
    for (int from = 0; from < depth; from += 2048) feed(ctx, std::min(2048, depth - from), 0, from);
  };
  if (prefill) {
    whole_prompt();
  } else if (batch == 1) {
    const int block_tokens = std::min(512, depth);
    feed(ctx, block_tokens, 1, 0);
    std::vector<uint8_t> block(llama_state_seq_get_size(ctx, 1));
    check(llama_state_seq_get_data(ctx, block.data(), block.size(), 1) == block.size(), "save");
    for (int at = 0; at < depth; at += block_tokens) {
      if (at) {
        check(llama_state_seq_set_data(ctx, block.data(), block.size(), 1) == block.size(), "restore");
        llama_memory_seq_add(mem, 1, 0, -1, at);
      }
      llama_memory_seq_cp(mem, 1, 0, -1, -1);
      llama_memory_seq_rm(mem, 1, -1, -1);
    }
  } else {
    for (int at = 0; at < depth; at += 512) feed(ctx, std::min(512, depth - at), 0, at);
    for (int s = 1; s < batch; s++) llama_memory_seq_cp(mem, 0, s, -1, -1);
  }
  if (!prefill) {
    pos = llama_memory_seq_pos_max(mem, 0) + 1;
    decode(ctx, n_vocab, batch, 4, pos);
  }
  say({{"ready", true}});
  for (int run = 0; run < repeat; run++) {
    check(heard() == "run", "expected: run");
    const double start = now();
    if (prefill) whole_prompt();
    else decode(ctx, n_vocab, batch, tokens, pos);
    say({{"seconds", now() - start}});
  }
  check(heard() == "finish", "expected: finish");
  char text[64] = "0";
  const auto number = [&](const char* key) {
    std::string arch = "general.architecture";
    char name[64];
    llama_model_meta_val_str(model, arch.c_str(), name, sizeof name);
    const int n = llama_model_meta_val_str(model, (std::string(name) + key).c_str(), text, sizeof text);
    return n > 0 ? atof(text) : 0;
  };
  const double layers = llama_model_n_layer(model), kv_heads = llama_model_n_head_kv(model);
  double dim = number(".attention.key_length");
  if (dim == 0) dim = double(llama_model_n_embd(model)) / llama_model_n_head(model);
  const double heads = llama_model_n_head(model), hidden = llama_model_n_embd(model), ffn = number(".feed_forward_length");
  const double weights = layers * (2 * hidden * heads * dim + 2 * hidden * kv_heads * dim + 3 * hidden * ffn) + hidden * n_vocab;
  const double kv_bytes = q8_kv ? 34.0 / 32 : 2;
  rusage u;
  getrusage(RUSAGE_SELF, &u);
  say({{"done", true},
       {"version", argv[3]},
       {"bytes_per_step", weights * weight_bytes + batch * double(depth) * layers * 2 * kv_heads * dim * kv_bytes},
       {"event_s_per_step", 0},
       {"peak_rss_mib", u.ru_maxrss / 1024.0},
       {"note", ""}});
}
