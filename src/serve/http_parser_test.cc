#include "serve/http_parser.h"

#include <gtest/gtest.h>

namespace throughline::serve {
namespace {

const std::string kPost =
    "POST /v1/chat%2Fx/y?a=1&b=2 HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nX-Thing: A b\r\n"
    "Content-Length: 11\r\n\r\nhello world";

TEST(HttpParser, OneRequestHoweverItIsCut) {
  for (size_t cut = 0; cut <= kPost.size(); ++cut) {
    HttpParser parser({});
    EXPECT_TRUE(parser.idle());
    auto state = parser.feed(kPost.substr(0, cut));
    EXPECT_EQ(state == HttpParser::State::kDone, cut == kPost.size()) << cut;
    state = parser.feed(kPost.substr(cut));
    ASSERT_EQ(state, HttpParser::State::kDone) << cut;
    const HttpRequest request = parser.take();
    EXPECT_EQ(request.method, "POST");
    EXPECT_EQ(request.path, "/v1/chat/x/y");
    EXPECT_EQ(request.query, "a=1&b=2");
    EXPECT_EQ(request.header("x-thing"), "A b");
    EXPECT_EQ(request.body, "hello world");
    EXPECT_TRUE(request.keep_alive);
    EXPECT_TRUE(parser.idle());
  }
}

TEST(HttpParser, ByteByByte) {
  HttpParser parser({});
  for (size_t i = 0; i + 1 < kPost.size(); ++i)
    ASSERT_EQ(parser.feed(kPost.substr(i, 1)), HttpParser::State::kNeedMore) << i;
  ASSERT_EQ(parser.feed(kPost.substr(kPost.size() - 1)), HttpParser::State::kDone);
  EXPECT_EQ(parser.take().body, "hello world");
}

TEST(HttpParser, PipelinedRequestsWaitForTheirTurn) {
  HttpParser parser({});
  const std::string get = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
  ASSERT_EQ(parser.feed(kPost + get + get), HttpParser::State::kDone);
  EXPECT_EQ(parser.take().body, "hello world");
  ASSERT_EQ(parser.resume(), HttpParser::State::kDone);
  EXPECT_EQ(parser.take().path, "/a");
  ASSERT_EQ(parser.resume(), HttpParser::State::kDone);
  EXPECT_EQ(parser.take().path, "/a");
  EXPECT_EQ(parser.resume(), HttpParser::State::kNeedMore);
}

TEST(HttpParser, ChunkedBodies) {
  HttpParser parser({});
  ASSERT_EQ(
      parser.feed(
          "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"),
      HttpParser::State::kDone);
  EXPECT_EQ(parser.take().body, "hello world");
}

TEST(HttpParser, ChunksWithExtensionsAndTrailersInAnyCut) {
  const std::string bytes =
      "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0006 \r\n world\r\n0\r\nX: "
      "y\r\n\r\n";
  for (size_t step = 1; step < bytes.size(); ++step) {
    HttpParser parser({});
    auto state = HttpParser::State::kNeedMore;
    for (size_t at = 0; at < bytes.size(); at += step) state = parser.feed(bytes.substr(at, step));
    ASSERT_EQ(state, HttpParser::State::kDone) << step;
    EXPECT_EQ(parser.take().body, "hello world");
    EXPECT_TRUE(parser.idle());
  }
}

int fault_of(const std::string& bytes, HttpLimits limits = {}) {
  HttpParser parser(limits);
  for (size_t at = 0; at < bytes.size(); at += 1000) {
    if (parser.feed(bytes.substr(at, 1000)) == HttpParser::State::kBad) return parser.fault().status;
  }
  return 0;
}

// 200,000 of them in one read: work that grew with their square would stop the server for half a minute.
TEST(HttpParser, ManySmallChunksInOneRead) {
  std::string text = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 200000; ++i) text += "1\r\nx\r\n";
  HttpParser parser(HttpLimits{});
  ASSERT_EQ(parser.feed(text + "0\r\n\r\nGET"), HttpParser::State::kDone);
  EXPECT_EQ(parser.take().body, std::string(200000, 'x'));
  EXPECT_EQ(parser.kept_bytes(), 3U);
}

TEST(HttpParser, LimitsAndNonsense) {
  const HttpLimits small{.header_bytes = 1000, .body_bytes = 100};
  EXPECT_EQ(fault_of("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 101\r\n\r\n", small), 413);
  EXPECT_EQ(
      fault_of("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" + std::string(101, 'x'), small),
      413);
  EXPECT_EQ(fault_of("GET / HTTP/1.1\r\nX: " + std::string(2000, 'x') + "\r\n\r\n", small), 431);
  EXPECT_EQ(fault_of("GET / HTTP/1.1\r\nX: " + std::string(2000, 'x'), small), 431);
  const std::string chunked = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const char* body : {"x\r\n", "-1\r\n", "\r\n", "5\r\nhelloXX", "ffffffffffffffffff\r\n", "0x5\r\n"})
    EXPECT_EQ(fault_of(chunked + body), 400) << body;
  EXPECT_EQ(fault_of(chunked + "ffffffffffffffff\r\n"), 413);
  EXPECT_EQ(fault_of(chunked + std::string(2000, '1')), 400);
  EXPECT_EQ(fault_of(chunked + "0\r\nX: " + std::string(2000, 'y'), small), 431);
  EXPECT_EQ(fault_of(chunked + "0\r\nabc\r\r\n"), 0);  // stopped Boost's own parser by an assertion
  EXPECT_EQ(fault_of("nonsense\r\n\r\n"), 400);
  EXPECT_EQ(fault_of("GET / HTTP/9.9\r\n\r\n"), 400);
  EXPECT_EQ(fault_of("GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\n"), 400);
  EXPECT_EQ(fault_of(std::string("\x16\x03\x01\x02\x00\x01", 6)), 400);  // TLS to a plain port
  EXPECT_EQ(fault_of("GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"), 400);
}

// What is taken for no body is taken for the next request: a way to smuggle one past a proxy.
TEST(HttpParser, TransferCodingsThatAreNotUnderstoodEndTheConnection) {
  const auto post = [](const std::string& headers, const std::string& version = "1.1") {
    return fault_of("POST / HTTP/" + version + "\r\nHost: h\r\n" + headers + "\r\n5\r\nhello\r\n0\r\n\r\n");
  };
  for (const char* coding : {"gzip", "gzip, chunked", "chunked, gzip", "chunked, chunked", "identity", "", "xchunked",
                             "chunked;a=b", "\"chunked\""})
    EXPECT_EQ(post(std::string("Transfer-Encoding: ") + coding + "\r\n"), 501) << coding;
  EXPECT_EQ(post("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"), 501);
  EXPECT_EQ(post("Transfer-Encoding: gzip\r\nContent-Length: 5\r\n"), 501);
  EXPECT_EQ(post("Transfer-Encoding: chunked\r\n", "1.0"), 501);
  EXPECT_EQ(post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400);
  EXPECT_EQ(post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400);
  EXPECT_EQ(post("transfer-encoding: \t Chunked \r\n"), 0);
}

TEST(HttpParser, ContinueIsAskedOnce) {
  HttpParser parser({});
  EXPECT_FALSE(parser.wants_continue());
  parser.feed("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_TRUE(parser.wants_continue());
  EXPECT_FALSE(parser.wants_continue());
  EXPECT_EQ(parser.feed("ab"), HttpParser::State::kDone);
}

TEST(HttpTypes, PercentDecoding) {
  EXPECT_EQ(percent_decoded("a%41%2fb"), "aA/b");
  EXPECT_FALSE(percent_decoded("%4"));
  EXPECT_FALSE(percent_decoded("%zz"));
  EXPECT_FALSE(percent_decoded("a%00b"));
}

TEST(HttpTypes, AnEventIsOneEvent) {
  std::string out;
  write_event(out, "{\"a\":1}\n\ndata: {\"b\"");
  EXPECT_EQ(out, "data: {\"a\":1}  data: {\"b\"\n\n");
}

}  // namespace
}  // namespace throughline::serve
