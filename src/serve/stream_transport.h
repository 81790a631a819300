// A Transport over one of Asio's streams: a TCP socket, or TLS on one (internal to the HTTP server).
#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <utility>

#include "serve/transport.h"

namespace throughline::serve {

constexpr auto kToken = boost::asio::as_tuple(boost::asio::use_awaitable);

template <class Stream>
class StreamTransport : public Transport {
 public:
  template <class... Arguments>
  explicit StreamTransport(Arguments&&... arguments) : stream_(std::forward<Arguments>(arguments)...) {}
  awaitable<ErrorCode> open() override { co_return ErrorCode(); }
  awaitable<size_t> read_some(boost::asio::mutable_buffer buffer, ErrorCode& code) override {
    const auto [failure, count] = co_await stream_.async_read_some(buffer, kToken);
    code = failure;
    co_return count;
  }
  awaitable<ErrorCode> write(boost::asio::const_buffer bytes) override {
    const auto [failure, count] = co_await boost::asio::async_write(stream_, bytes, kToken);
    co_return failure;
  }
  // Answers carry their length, so that an end without TLS's own farewell loses nothing.
  void end_of_writing() override {
    ErrorCode ignored;
    stream_.lowest_layer().shutdown(boost::asio::ip::tcp::socket::shutdown_send, ignored);
  }
  void close() override {
    ErrorCode ignored;
    stream_.lowest_layer().close(ignored);
  }

 protected:
  Stream stream_;
};

}  // namespace throughline::serve
