#include <boost/asio/ssl.hpp>

#include "serve/stream_transport.h"

namespace throughline::serve {
namespace {

namespace asio = boost::asio;
namespace ssl = asio::ssl;
using asio::ip::tcp;

class TlsTransport : public StreamTransport<ssl::stream<tcp::socket>> {
 public:
  TlsTransport(tcp::socket socket, const std::shared_ptr<ssl::context>& context)
      : StreamTransport(std::move(socket), *context), context_(context) {}
  awaitable<ErrorCode> open() override {
    const auto [failure] = co_await stream_.async_handshake(ssl::stream_base::server, kToken);
    co_return failure;
  }

 private:
  std::shared_ptr<ssl::context> context_;  // of the stream
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
