// The byte stream of one connection, plain or TLS (internal to the HTTP server). Awaited on the connection's strand;
// one read and one write may be open at a time.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"

namespace throughline::serve {

using boost::asio::awaitable;
using ErrorCode = boost::system::error_code;

class Transport {
 public:
  virtual ~Transport() = default;
  virtual awaitable<ErrorCode> open() = 0;  // the TLS handshake
  virtual awaitable<size_t> read_some(boost::asio::mutable_buffer buffer, ErrorCode& code) = 0;
  virtual awaitable<ErrorCode> write(boost::asio::const_buffer bytes) = 0;  // all of it
  virtual void end_of_writing() = 0;                                        // the client sees the end
  virtual void close() = 0;                                                 // what is open ends with an error
};

using TransportFactory = std::function<std::unique_ptr<Transport>(boost::asio::ip::tcp::socket)>;
TransportFactory plain_transports();
// `certificate` and `key`: PEM files.
Result<TransportFactory> tls_transports(const std::string& certificate, const std::string& key);

}  // namespace throughline::serve
