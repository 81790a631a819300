#include "serve/http_server.h"

#include <fmt/core.h>

#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "serve/stream_transport.h"

namespace throughline::serve {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using Clock = std::chrono::steady_clock;
using Strand = asio::strand<asio::io_context::executor_type>;
constexpr size_t kReadBytes = 16 << 10;
constexpr size_t kMostUnread = 256 << 10;  // bytes of later requests that are taken in while one is answered
constexpr size_t kWriteBytes = 64 << 10;
constexpr double kLingerSeconds = 2;

Clock::duration seconds(double count) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(count));
}

struct Shared {
  HttpServerOptions options;
  Handler handler;
  FaultHandler on_fault;
  std::atomic<bool> stopping{false};
  std::atomic<int64_t> connections{0};
};

// One connection. Two coroutines on its strand: read() takes bytes in as long as it lives, serve() answers.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(std::shared_ptr<Shared> shared, std::unique_ptr<Transport> transport, Strand strand, std::string peer)
      : shared_(std::move(shared)),
        transport_(std::move(transport)),
        strand_(std::move(strand)),
        peer_(std::move(peer)),
        signal_(strand_),
        room_(strand_),
        write_limit_(strand_),
        parser_(shared_->options.limits) {
    ++shared_->connections;
  }
  ~Session() { --shared_->connections; }

  void start() {
    asio::co_spawn(
        strand_, [self = shared_from_this()] { return self->serve(); }, asio::detached);
  }
  void close() {
    asio::post(strand_, [self = shared_from_this()] {
      self->closed_ = true;
      self->transport_->close();
      self->signal_.cancel();
      self->room_.cancel();
    });
  }
  void look_up() {
    asio::post(strand_, [self = shared_from_this()] { self->signal_.cancel(); });
  }

 private:
  awaitable<void> serve() {
    limit_writing();
    const ErrorCode failure = co_await transport_->open();
    write_limit_.cancel();
    if (failure) co_return;
    asio::co_spawn(
        strand_, [self = shared_from_this()] { return self->read(); }, asio::detached);
    while (true) {
      HttpRequest request;
      const bool arrived = co_await next_request(request);
      if (!arrived) break;
      bool keep = request.keep_alive;
      const bool written = co_await answer(request, keep);
      if (!written || !keep || closed_) break;
    }
    co_await say_goodbye();
  }

  awaitable<void> read() {
    std::string buffer(kReadBytes, '\0');
    ErrorCode code;
    while (!code) {
      const size_t count = co_await transport_->read_some(asio::buffer(buffer), code);
      if (!discarding_) unread_.append(buffer, 0, count);
      signal_.cancel();
      while (unread_.size() > kMostUnread && !discarding_ && !closed_) {
        room_.expires_after(std::chrono::hours(1));
        co_await room_.async_wait(kToken);
      }
    }
    gone_ = true;
    signal_.cancel();
  }

  awaitable<void> wait_until(Clock::time_point deadline) {
    signal_.expires_at(deadline);
    co_await signal_.async_wait(kToken);
  }

  // Closes the connection when a write does not move.
  void limit_writing() {
    write_limit_.expires_after(seconds(shared_->options.write_timeout_s));
    write_limit_.async_wait([self = shared_from_this()](const ErrorCode& code) {
      if (!code) self->transport_->close();
    });
  }

  awaitable<bool> write(std::string_view bytes) {
    while (!bytes.empty()) {
      const std::string_view part = bytes.substr(0, kWriteBytes);
      limit_writing();
      const ErrorCode failure = co_await transport_->write(asio::buffer(part.data(), part.size()));
      write_limit_.cancel();
      if (failure) co_return false;
      bytes.remove_prefix(part.size());
    }
    co_return true;
  }

  awaitable<bool> next_request(HttpRequest& request) {
    const auto began = Clock::now();
    auto first_byte = began;
    bool idle = true;
    while (true) {
      const HttpParser::State state = parser_.feed(std::exchange(unread_, {}));
      room_.cancel();
      if (state == HttpParser::State::kDone) {
        request = parser_.take();
        request.peer = peer_;
        co_return true;
      }
      if (state == HttpParser::State::kBad) {
        co_await refuse(parser_.fault());
        co_return false;
      }
      if (parser_.wants_continue()) {
        const bool good = co_await write("HTTP/1.1 100 Continue\r\n\r\n");
        if (!good) co_return false;
      }
      if (gone_ || closed_) co_return false;
      if (idle && !parser_.idle()) {
        idle = false;
        first_byte = Clock::now();
      }
      if (idle && shared_->stopping) co_return false;
      const auto deadline = idle ? began + seconds(shared_->options.idle_timeout_s)
                                 : first_byte + seconds(shared_->options.request_timeout_s);
      if (Clock::now() >= deadline) {
        const HttpResponse late = error_response(408, "the request did not arrive in time");
        if (!idle) co_await refuse(late);
        co_return false;
      }
      if (unread_.empty()) co_await wait_until(deadline);
    }
  }

  // What was no request is answered all the same; then the connection ends.
  awaitable<bool> refuse(HttpResponse fault) {
    shared_->on_fault(fault, peer_);
    co_return co_await write_response(fault, false, false);
  }

  awaitable<bool> answer(const HttpRequest& request, bool& keep) {
    Answer answer;
    try {
      answer = shared_->handler(request);
    } catch (const std::exception& failure) {
      answer = {error_response(500, std::string("internal error: ") + failure.what()), nullptr};
    }
    keep = keep && !shared_->stopping;
    const bool head_only = request.method == "HEAD";
    if (!answer.later) co_return co_await write_response(answer.now, keep, head_only);
    answer.later->set_wake([weak = weak_from_this(), strand = strand_] {
      asio::post(strand, [weak] {
        if (const auto self = weak.lock()) {
          self->ready_ = true;
          self->signal_.cancel();
        }
      });
    });
    if (!answer.later->streamed()) co_return co_await write_when_ready(*answer.later, answer.now.headers, keep);
    if (!request.chunks_body) keep = false;
    co_return co_await write_stream(*answer.later, answer.now.headers, keep, request.chunks_body);
  }

  awaitable<bool> write_when_ready(Reply& reply, const Headers& headers, bool keep) {
    while (true) {
      ready_ = false;
      if (auto response = reply.poll()) {
        response->headers.insert(response->headers.end(), headers.begin(), headers.end());
        co_return co_await write_response(*response, keep, false);
      }
      if (gone_ || closed_) {
        reply.abandon();
        co_return false;
      }
      if (!ready_) co_await wait_until(Clock::now() + std::chrono::hours(1));
    }
  }

  awaitable<bool> write_stream(Reply& reply, const Headers& headers, bool keep, bool chunked) {
    std::string out = head_of(200, "text/event-stream; charset=utf-8", headers, keep);
    out += "Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\n";
    out += chunked ? "Transfer-Encoding: chunked\r\n\r\n" : "\r\n";
    bool good = co_await write(out), end = false;
    while (good && !end) {
      ready_ = false;
      out.clear();
      end = reply.pull(out);
      if (chunked && !out.empty()) out = framed(out);
      if (!out.empty()) good = co_await write(out);
      if (end && good && chunked) good = co_await write("0\r\n\r\n");
      if (end || !good || gone_ || closed_) break;
      if (ready_) continue;
      const auto ping_at = Clock::now() + seconds(shared_->options.ping_s);
      co_await wait_until(ping_at);
      if (!ready_ && !gone_ && Clock::now() >= ping_at) {
        out = ": still working\n\n";
        if (chunked) out = framed(out);
        good = co_await write(out);
      }
    }
    if (!end) reply.abandon();
    co_return end&& good;
  }

  static std::string framed(const std::string& bytes) { return fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes); }

  static std::string head_of(int status, const std::string& type, const Headers& headers, bool keep) {
    std::string out = fmt::format("HTTP/1.1 {} {}\r\n", status, reason_phrase(status));
    if (!type.empty()) out += "Content-Type: " + type + "\r\n";
    for (const auto& [name, value] : headers) out += name + ": " + value + "\r\n";
    out += keep ? "Connection: keep-alive\r\n" : "Connection: close\r\n";
    return out;
  }

  awaitable<bool> write_response(const HttpResponse& response, bool keep, bool head_only) {
    const bool bodiless = response.status == 204 || response.status == 304;
    std::string out = head_of(response.status, bodiless ? "" : response.content_type, response.headers, keep);
    if (!bodiless) out += fmt::format("Content-Length: {}\r\n", response.body.size());
    out += "\r\n";
    if (!head_only && !bodiless) out += response.body;
    co_return co_await write(out);
  }

  // An answer must not be lost because bytes that nobody reads were still under way.
  awaitable<void> say_goodbye() {
    discarding_ = true;
    unread_.clear();
    room_.cancel();
    transport_->end_of_writing();
    const auto until = Clock::now() + seconds(kLingerSeconds);
    while (!gone_ && !closed_ && Clock::now() < until) co_await wait_until(until);
    transport_->close();
    while (!gone_) co_await wait_until(Clock::now() + seconds(1));  // read() uses the transport until it has seen that
  }

  std::shared_ptr<Shared> shared_;
  std::unique_ptr<Transport> transport_;
  Strand strand_;
  std::string peer_;
  asio::steady_timer signal_, room_, write_limit_;
  HttpParser parser_;
  std::string unread_;
  bool gone_ = false, closed_ = false, ready_ = false, discarding_ = false;
};

}  // namespace

TransportFactory plain_transports() {
  return [](tcp::socket socket) { return std::make_unique<StreamTransport<tcp::socket>>(std::move(socket)); };
}

struct HttpServer::Impl {
  std::shared_ptr<Shared> shared = std::make_shared<Shared>();
  asio::io_context io;
  Strand accepting{asio::make_strand(io.get_executor())};  // the acceptor's
  tcp::acceptor acceptor{accepting};
  uint16_t port = 0;
  TransportFactory transports;
  std::vector<std::thread> threads;
  std::optional<asio::executor_work_guard<asio::io_context::executor_type>> guard;
  std::mutex mutex;
  std::vector<std::weak_ptr<Session>> sessions;

  Status listen() {
    const HttpServerOptions& options = shared->options;
    const std::string where = "--host " + options.host + " --port " + std::to_string(options.port);
    ErrorCode code;
    tcp::resolver resolver(io);
    const auto found = resolver.resolve(options.host, std::to_string(options.port), tcp::resolver::passive, code);
    if (code || found.empty()) return Error{"is no address of this machine: " + code.message(), where, ""};
    const tcp::endpoint endpoint = found.begin()->endpoint();
    acceptor.open(endpoint.protocol(), code);
    if (!code) acceptor.set_option(tcp::acceptor::reuse_address(true), code);
    if (!code) acceptor.bind(endpoint, code);
    if (!code) acceptor.listen(asio::socket_base::max_listen_connections, code);
    if (code) return Error{"cannot listen: " + code.message(), where, "choose another --port (0: any free one)"};
    port = acceptor.local_endpoint().port();
    return {};
  }

  awaitable<void> accept() {
    while (acceptor.is_open()) {
      auto strand = asio::make_strand(io.get_executor());
      tcp::socket socket(strand);
      const auto [failure] = co_await acceptor.async_accept(socket, kToken);
      if (failure == asio::error::operation_aborted) co_return;
      if (failure) {  // too many open files, or a client that was quicker: wait a little
        asio::steady_timer pause(accepting, std::chrono::milliseconds(50));
        co_await pause.async_wait(kToken);
        continue;
      }
      begin(std::move(socket), std::move(strand));
    }
  }

  void begin(tcp::socket socket, Strand strand) {
    if (shared->connections >= shared->options.max_connections || shared->stopping) return;  // closes it
    ErrorCode ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    const auto endpoint = socket.remote_endpoint(ignored);
    const std::string peer = ignored ? "" : endpoint.address().to_string();
    auto session = std::make_shared<Session>(shared, transports(std::move(socket)), std::move(strand), peer);
    {
      const std::lock_guard lock(mutex);
      std::erase_if(sessions, [](const auto& weak) { return weak.expired(); });
      sessions.push_back(session);
    }
    session->start();
  }

  std::vector<std::shared_ptr<Session>> living() {
    const std::lock_guard lock(mutex);
    std::vector<std::shared_ptr<Session>> out;
    for (const auto& weak : sessions) {
      if (auto session = weak.lock()) out.push_back(std::move(session));
    }
    return out;
  }
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() { stop(); }

Result<std::unique_ptr<HttpServer>> HttpServer::create(const HttpServerOptions& options, Handler handler,
                                                       FaultHandler on_fault) {
  auto impl = std::make_unique<Impl>();
  impl->shared->options = options;
  impl->shared->handler = std::move(handler);
  impl->shared->on_fault = std::move(on_fault);
  if (options.tls_certificate.empty() != options.tls_key.empty())
    return Error{"needs the other one too", options.tls_key.empty() ? "--tls-cert" : "--tls-key",
                 "give both PEM files"};
  if (options.tls_certificate.empty()) {
    impl->transports = plain_transports();
  } else {
    TL_TRY(impl->transports, tls_transports(options.tls_certificate, options.tls_key));
  }
  TL_TRY_STATUS(impl->listen());
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

uint16_t HttpServer::port() const { return impl_->port; }
int64_t HttpServer::connections() const { return impl_->shared->connections; }

void HttpServer::start() {
  impl_->guard.emplace(impl_->io.get_executor());
  asio::co_spawn(
      impl_->accepting, [this] { return impl_->accept(); }, asio::detached);
  for (int i = 0; i < std::max(1, impl_->shared->options.threads); ++i) {
    impl_->threads.emplace_back([this] { impl_->io.run(); });
  }
}

void HttpServer::stop_accepting() {
  impl_->shared->stopping = true;
  asio::post(impl_->accepting, [this] {
    ErrorCode ignored;
    impl_->acceptor.close(ignored);
  });
  for (const auto& session : impl_->living()) session->look_up();
}

void HttpServer::stop() {
  if (impl_->threads.empty()) return;
  stop_accepting();
  for (const auto& session : impl_->living()) session->close();
  const auto until = Clock::now() + std::chrono::seconds(5);
  while (impl_->shared->connections > 0 && Clock::now() < until)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  impl_->guard.reset();
  impl_->io.stop();
  for (auto& thread : impl_->threads) thread.join();
  impl_->threads.clear();
}

}  // namespace throughline::serve
