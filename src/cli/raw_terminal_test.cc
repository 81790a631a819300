#include "cli/raw_terminal.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "cli/interrupt.h"

namespace throughline {
namespace {

// A view in a child process on a terminal of its own, which ends at "q" or when interrupted.
class View {
 public:
  View() {
    if (::openpty(&master_, &slave_, nullptr, nullptr, nullptr) != 0) return;
    child_ = ::fork();
    if (child_ == 0) run();
  }
  ~View() {
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
    ::close(master_);
    ::close(slave_);
  }

  pid_t child() const { return child_; }
  void send(const std::string& text) const { EXPECT_EQ(::write(master_, text.data(), text.size()), text.size()); }

  // Reads what is shown until `text` has come.
  bool wait_for(const std::string& text) {
    for (int i = 0; i < 200 && shown_.find(text) == std::string::npos; ++i) {
      pollfd input{master_, POLLIN, 0};
      char bytes[512];
      if (::poll(&input, 1, 50) <= 0) continue;
      if (const ssize_t n = ::read(master_, bytes, sizeof bytes); n > 0) shown_.append(bytes, static_cast<size_t>(n));
    }
    const bool found = shown_.find(text) != std::string::npos;
    shown_.clear();
    return found;
  }
  bool raw() const {
    termios mode{};
    EXPECT_EQ(::tcgetattr(slave_, &mode), 0);
    return (mode.c_lflag & (ICANON | ECHO)) == 0;
  }
  int status() {  // waits for the end
    int out = 0;
    ::waitpid(child_, &out, 0);
    return out;
  }

 private:
  [[noreturn]] void run() const {
    ::setsid();
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(slave_, fd);
    watch_interrupts();
    bool quit = false;
    {
      RawTerminal terminal;
      while (!quit && !interrupted() && !terminal.closed()) {
        terminal.draw("frame");
        for (const KeyPress& key : terminal.keys(50)) {
          quit = quit || key.text == "q";
          if (key.key == Key::kDown) terminal.draw("down");
        }
      }
    }
    ::_exit(quit ? 0 : kInterruptedExit);
  }

  int master_ = -1, slave_ = -1;
  pid_t child_ = -1;
  std::string shown_;
};

constexpr const char* kLeft = "\033[?1049l";

TEST(RawTerminal, KeysComeThroughAndQuittingRestores) {
  View view;
  ASSERT_TRUE(view.wait_for("frame"));
  EXPECT_TRUE(view.raw());
  view.send("\033[B");
  EXPECT_TRUE(view.wait_for("down"));
  view.send("q");
  EXPECT_TRUE(view.wait_for(kLeft));
  EXPECT_EQ(view.status(), 0);
  EXPECT_FALSE(view.raw());
}

TEST(RawTerminal, SignalsRestore) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) {
    View view;
    ASSERT_TRUE(view.wait_for("frame"));
    ASSERT_TRUE(view.raw());
    ::kill(view.child(), signal);
    EXPECT_TRUE(view.wait_for(kLeft)) << signal;
    const int status = view.status();
    if (signal == SIGINT || signal == SIGTERM) {
      EXPECT_EQ(WEXITSTATUS(status), kInterruptedExit);
    } else {
      EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == signal) << signal;
    }
    EXPECT_FALSE(view.raw()) << signal;
  }
}

TEST(RawTerminal, AStoppedViewGivesTheTerminalBackMeanwhile) {
  View view;
  ASSERT_TRUE(view.wait_for("frame"));
  ::kill(view.child(), SIGTSTP);
  EXPECT_TRUE(view.wait_for(kLeft));
  int status = 0;
  ASSERT_EQ(::waitpid(view.child(), &status, WUNTRACED), view.child());
  EXPECT_TRUE(WIFSTOPPED(status));
  EXPECT_FALSE(view.raw());
  ::kill(view.child(), SIGCONT);
  EXPECT_TRUE(view.wait_for("frame"));
  EXPECT_TRUE(view.raw());
}

}  // namespace
}  // namespace throughline
