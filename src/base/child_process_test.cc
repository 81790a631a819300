#include "base/child_process.h"

#include <gtest/gtest.h>

#include "base/files.h"

namespace throughline {
namespace {

std::string errors() { return ::testing::TempDir() + "/child_process_errors"; }

TEST(ChildProcess, LinesGoInAndComeOut) {
  auto child =
      ChildProcess::start({"sh", "-c", "while read line; do echo \"<$line>\"; echo b; done"}, errors()).value();
  ASSERT_TRUE(child.write_line("one").ok());
  EXPECT_EQ(child.read_line(10).value(), "<one>");
  EXPECT_EQ(child.read_line(10).value(), "b");
  child.stop();
  ASSERT_TRUE(child.write_line("two").ok());
  EXPECT_EQ(child.read_line(0.2).error().what, "gave no answer in time");
  child.go_on();
  EXPECT_EQ(child.read_line(10).value(), "<two>");
}

TEST(ChildProcess, SaysWhenItEndedAndKeepsItsErrors) {
  auto child = ChildProcess::start({"sh", "-c", "echo broken >&2; exit 3"}, errors()).value();
  EXPECT_EQ(child.read_line(10).error().what, "ended without an answer");
  child.finish();
  EXPECT_EQ(read_file(errors()).value(), "broken\n");
  EXPECT_FALSE(ChildProcess::start({"/no/such/program"}, errors()).ok());
}

TEST(ChildProcess, WhatDoesNotGoIsKilled) {
  auto child =
      ChildProcess::start({"sh", "-c", "trap '' HUP TERM; echo here; sleep 1000 & wait; wait"}, errors()).value();
  EXPECT_EQ(child.read_line(10).value(), "here");
  child.finish();
  EXPECT_FALSE(child.read_line(0.1).ok());
}

}  // namespace
}  // namespace throughline
