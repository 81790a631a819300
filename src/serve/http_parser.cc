#include "serve/http_parser.h"

#include <algorithm>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cctype>
#include <optional>

namespace throughline::serve {
namespace {

namespace http = boost::beast::http;
namespace asio = boost::asio;
using BeastParser = http::request_parser<http::string_body>;

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); });
  return out;
}

std::string_view view(boost::string_view text) { return {text.data(), text.size()}; }

}  // namespace

struct HttpParser::Impl {
  HttpLimits limits;
  std::string kept;
  std::optional<BeastParser> parser;
  HttpResponse fault;
  bool continue_asked = false, bad = false;

  void restart() {
    parser.emplace();
    parser->header_limit(static_cast<uint32_t>(limits.header_bytes));
    parser->body_limit(limits.body_bytes);
    parser->eager(true);
    continue_asked = false;
  }

  State fail(const boost::system::error_code& code) {
    bad = true;
    kept.clear();
    if (code == http::error::body_limit) {
      fault = error_response(413, "the body is larger than " + std::to_string(limits.body_bytes) + " bytes", "",
                             "body_too_large");
    } else if (code == http::error::header_limit) {
      fault = error_response(431, "the header is larger than " + std::to_string(limits.header_bytes) + " bytes", "",
                             "header_too_large");
    } else {
      fault = error_response(400, "not a well-formed HTTP request: " + code.message());
    }
    return State::kBad;
  }
};

HttpParser::HttpParser(const HttpLimits& limits) : impl_(std::make_unique<Impl>()) {
  impl_->limits = limits;
  impl_->restart();
}
HttpParser::~HttpParser() = default;

HttpParser::State HttpParser::feed(std::string_view bytes) {
  Impl& impl = *impl_;
  if (impl.bad) return State::kBad;
  impl.kept.append(bytes);
  while (!impl.parser->is_done()) {
    if (impl.kept.empty()) return State::kNeedMore;
    boost::system::error_code code;
    const size_t used = impl.parser->put(asio::buffer(impl.kept), code);
    impl.kept.erase(0, used);
    if (code == http::error::need_more) {
      // The parser wants its header whole; it never holds more than the limits.
      if (!impl.parser->is_header_done() && impl.kept.size() > impl.limits.header_bytes)
        return impl.fail(make_error_code(http::error::header_limit));
      return State::kNeedMore;
    }
    if (code) return impl.fail(code);
    if (used == 0 && !impl.parser->is_done()) return State::kNeedMore;
  }
  return State::kDone;
}

bool HttpParser::idle() const { return !impl_->parser->got_some() && impl_->kept.empty(); }
size_t HttpParser::kept_bytes() const { return impl_->kept.size(); }

bool HttpParser::wants_continue() {
  Impl& impl = *impl_;
  if (impl.continue_asked || !impl.parser->is_header_done() || impl.parser->is_done()) return false;
  if (lower(view(impl.parser->get()[http::field::expect])) != "100-continue") return false;
  return impl.continue_asked = true;
}

HttpRequest HttpParser::take() {
  auto& message = impl_->parser->get();
  HttpRequest out;
  out.method = std::string(view(message.method_string()));
  const std::string_view target = view(message.target());
  const size_t mark = target.find('?');
  // What cannot be decoded is no path of ours either way.
  out.path = percent_decoded(target.substr(0, mark)).value_or("");
  if (mark != std::string_view::npos) out.query = std::string(target.substr(mark + 1));
  for (const auto& field : message)
    out.headers.emplace_back(lower(view(field.name_string())), std::string(view(field.value())));
  out.keep_alive = message.keep_alive();
  out.chunks_body = message.version() >= 11;
  out.body = std::move(message.body());
  impl_->restart();
  return out;
}

const HttpResponse& HttpParser::fault() const { return impl_->fault; }

}  // namespace throughline::serve
