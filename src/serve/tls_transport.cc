#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include "serve/transport.h"

namespace throughline::serve {
namespace {

namespace asio = boost::asio;
namespace ssl = boost::asio::ssl;
using asio::ip::tcp;
constexpr auto kToken = asio::as_tuple(asio::use_awaitable);

class TlsTransport : public Transport {
 public:
  TlsTransport(tcp::socket socket, std::shared_ptr<ssl::context> context)
      : context_(std::move(context)), stream_(std::move(socket), *context_) {}
  awaitable<ErrorCode> open() override {
    const auto [failure] = co_await stream_.async_handshake(ssl::stream_base::server, kToken);
    co_return failure;
  }
  awaitable<size_t> read_some(asio::mutable_buffer buffer, ErrorCode& code) override {
    const auto [failure, count] = co_await stream_.async_read_some(buffer, kToken);
    code = failure;
    co_return count;
  }
  awaitable<ErrorCode> write(asio::const_buffer bytes) override {
    const auto [failure, count] = co_await asio::async_write(stream_, bytes, kToken);
    co_return failure;
  }
  // Answers carry their length, so an end without TLS's own farewell loses nothing.
  void end_of_writing() override {
    ErrorCode ignored;
    stream_.lowest_layer().shutdown(tcp::socket::shutdown_send, ignored);
  }
  void close() override {
    ErrorCode ignored;
    stream_.lowest_layer().close(ignored);
  }

 private:
  std::shared_ptr<ssl::context> context_;
  ssl::stream<tcp::socket> stream_;
};

}  // namespace

Result<TransportFactory> tls_transports(const std::string& certificate, const std::string& key) {
  auto context = std::make_shared<ssl::context>(ssl::context::tls_server);
  ErrorCode code;
  context->set_options(ssl::context::default_workarounds | ssl::context::no_sslv2 | ssl::context::no_sslv3 |
                           ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1,
                       code);
  context->use_certificate_chain_file(certificate, code);
  if (code) return Error{"is no certificate chain in PEM form: " + code.message(), "--tls-cert " + certificate, ""};
  context->use_private_key_file(key, ssl::context::pem, code);
  if (code) return Error{"is not the certificate's private key in PEM form: " + code.message(), "--tls-key " + key, ""};
  return TransportFactory(
      [context](tcp::socket socket) { return std::make_unique<TlsTransport>(std::move(socket), context); });
}

}  // namespace throughline::serve
