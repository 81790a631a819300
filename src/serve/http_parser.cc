#include "serve/http_parser.h"

#include <algorithm>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <cctype>
#include <charconv>
#include <iterator>
#include <optional>
#include <utility>

namespace throughline::serve {
namespace {

namespace http = boost::beast::http;
namespace asio = boost::asio;
using BeastParser = http::request_parser<http::empty_body>;
constexpr size_t kLongestLine = 1024;  // of a chunk's size with its extensions

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); });
  return out;
}

std::string_view view(boost::string_view text) { return {text.data(), text.size()}; }

}  // namespace

// The body is read here: Boost 1.81's chunk parser stops the process by an assertion on some malformed trailers.
struct HttpParser::Impl {
  enum class Part { kHeader, kLength, kChunkSize, kChunk, kChunkEnd, kTrailer, kDone };
  HttpLimits limits;
  std::string kept;
  size_t used = 0;  // bytes of `kept` that are done with; dropped once a feed, as a body may come in a million chunks
  std::optional<BeastParser> parser;
  Part part = Part::kHeader;
  size_t left = 0;      // bytes of the body, or of the chunk
  size_t trailers = 0;  // bytes
  std::string body;
  HttpResponse fault;
  bool continue_asked = false, bad = false;

  void restart() {
    parser.emplace();
    parser->header_limit(static_cast<uint32_t>(limits.header_bytes));
    parser->body_limit(boost::none);
    parser->skip(true);  // the header only
    part = Part::kHeader;
    left = trailers = 0;
    body.clear();
    continue_asked = false;
  }

  State fail(int status, const std::string& message, const std::string& code = "") {
    bad = true;
    kept.clear();
    used = 0;
    fault = error_response(status, message, "", code);
    return State::kBad;
  }
  State malformed(const std::string& why) { return fail(400, "not a well-formed HTTP request: " + why); }
  State too_large() {
    return fail(413, "the body is larger than " + std::to_string(limits.body_bytes) + " bytes", "body_too_large");
  }
  State long_header() {
    return fail(431, "the header is larger than " + std::to_string(limits.header_bytes) + " bytes", "header_too_large");
  }

  std::string_view rest() const { return std::string_view(kept).substr(used); }

  // Beast takes a coding that it does not know for no body: what follows would be read as the next request.
  bool coding_known() const {
    const auto& message = parser->get();
    const auto [first, last] = message.equal_range(http::field::transfer_encoding);
    if (first == last) return true;
    return std::next(first) == last && lower(view(first->value())) == "chunked" && message.version() >= 11;
  }

  State read_header() {
    if (rest().empty()) return State::kNeedMore;
    boost::system::error_code code;
    used += parser->put(asio::buffer(rest().data(), rest().size()), code);
    if (code == http::error::need_more) return rest().size() > limits.header_bytes ? long_header() : State::kNeedMore;
    if (code == http::error::header_limit) return long_header();
    if (code) return malformed(code.message());
    if (!parser->is_header_done()) return State::kNeedMore;
    if (!coding_known())
      return fail(501, "Transfer-Encoding can only be \"chunked\", given once, in HTTP/1.1; or use Content-Length");
    const auto length = parser->content_length();
    if (length && *length > limits.body_bytes) return too_large();
    left = length ? static_cast<size_t>(*length) : 0;
    part = parser->chunked() ? Part::kChunkSize : left > 0 ? Part::kLength : Part::kDone;
    return State::kDone;
  }

  // Up to `left` bytes; true when all are there.
  bool take_bytes() {
    const size_t count = std::min(left, rest().size());
    body.append(rest().substr(0, count));
    used += count;
    left -= count;
    return left == 0;
  }

  // A line without its CRLF; nothing when it has not arrived whole.
  std::optional<std::string> take_line() {
    const size_t end = rest().find("\r\n");
    if (end == std::string::npos) return std::nullopt;
    std::string line(rest().substr(0, end));
    used += end + 2;
    return line;
  }

  State read_chunk_size() {
    const auto line = take_line();
    if (!line) return rest().size() > kLongestLine ? malformed("a chunk's size has no end") : State::kNeedMore;
    size_t size = 0;
    const auto digits = std::string_view(*line).substr(0, line->find_first_of("; \t"));
    const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), size, 16);
    if (failure != std::errc() || end != digits.data() + digits.size() || line->size() > kLongestLine)
      return malformed("bad chunk size");
    if (size > limits.body_bytes - body.size()) return too_large();
    left = size;
    part = size > 0 ? Part::kChunk : Part::kTrailer;
    return State::kDone;
  }

  State read_trailer() {  // read over; nobody asks for them
    const auto line = take_line();
    trailers += line ? line->size() + 2 : 0;
    if (trailers + (line ? 0 : rest().size()) > limits.header_bytes) return long_header();
    if (!line) return State::kNeedMore;
    if (line->empty()) part = Part::kDone;
    return State::kDone;
  }

  // kDone: the next part may begin.
  State step() {
    switch (part) {
      case Part::kHeader:
        return read_header();
      case Part::kLength:
        if (!take_bytes()) return State::kNeedMore;
        part = Part::kDone;
        return State::kDone;
      case Part::kChunkSize:
        return read_chunk_size();
      case Part::kChunk:
        if (!take_bytes()) return State::kNeedMore;
        part = Part::kChunkEnd;
        return State::kDone;
      case Part::kChunkEnd:
        if (rest().size() < 2) return State::kNeedMore;
        if (rest().substr(0, 2) != "\r\n") return malformed("bad chunk");
        used += 2;
        part = Part::kChunkSize;
        return State::kDone;
      case Part::kTrailer:
        return read_trailer();
      case Part::kDone:
        break;
    }
    return State::kDone;
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
  State state = State::kDone;
  while (state == State::kDone && impl.part != Impl::Part::kDone) state = impl.step();
  impl.kept.erase(0, std::exchange(impl.used, 0));
  return state;
}

bool HttpParser::idle() const {
  return impl_->part == Impl::Part::kHeader && !impl_->parser->got_some() && impl_->kept.empty();
}
size_t HttpParser::kept_bytes() const { return impl_->kept.size(); }

bool HttpParser::wants_continue() {
  Impl& impl = *impl_;
  if (impl.continue_asked || impl.part == Impl::Part::kHeader || impl.part == Impl::Part::kDone) return false;
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
  out.body = std::move(impl_->body);
  impl_->restart();
  return out;
}

const HttpResponse& HttpParser::fault() const { return impl_->fault; }

}  // namespace throughline::serve
