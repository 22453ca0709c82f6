#include "group/meeting.h"

#include <poll.h>

#include <algorithm>
#include <cstring>
#include <list>
#include <optional>

namespace cidery::group {
namespace {

using namespace std::chrono_literals;

/// Callers that have not proved themselves yet; one more ends the oldest. Those who belong here
/// need one round trip, so that strangers push them out only if they are faster than that.
constexpr size_t most_callers = 32;
/// For all that a caller has to say.
constexpr auto hello_time = 2s;
constexpr auto first_pause = 5ms, longest_pause = 200ms;

/// Somebody who called. Nothing is allocated from what it says.
struct Caller {
  Socket socket;
  Clock::time_point until;
  Hello hello;
  Answer answer;
  Mac proof;
  size_t got = 0;         // of the hello, then of the proof
  bool answered = false;  // its hello was proved
};

/// One connection that we make.
struct Dial {
  Parties parties;
  Socket socket;
  Hello hello;
  Answer answer;
  size_t got = 0;
  bool greeted = false, refused = false, done = false;
  Clock::time_point again{}, until{};
  Clock::duration pause = first_pause;
};

class Meeting {
 public:
  Meeting(const Socket& listener, const GroupOptions& options)
      : listener_(listener),
        options_(options),
        ranks_(static_cast<uint32_t>(options.addresses.size())),
        until_(Clock::now() + std::chrono::milliseconds(options.connect_ms)),
        met_(ranks_),
        wrong_key_(ranks_, false) {
    for (auto& connections : met_) connections.resize(channels);
    for (uint32_t to = 0; to < options.rank; ++to) {
      for (uint32_t channel = 0; channel < channels; ++channel) {
        dials_.emplace_back().parties = {ranks_, options.rank, to, channel};
      }
    }
  }

  Met run() {
    while (!complete()) {
      if (Clock::now() >= until_) fail();
      for (Dial& dial : dials_) {
        if (!dial.done && !dial.socket.open() && Clock::now() >= dial.again) start(dial);
      }
      wait();
      for (Dial& dial : dials_) {
        if (!dial.done && dial.socket.open()) advance(dial);
      }
      for (auto caller = callers_.begin(); caller != callers_.end();) {
        caller = advance(*caller) ? std::next(caller) : callers_.erase(caller);
      }
      take_callers();
    }
    Met met{std::vector<std::vector<Connection>>(ranks_), refused_};
    for (uint32_t r = 0; r < ranks_; ++r) {
      if (r == options_.rank) continue;
      for (auto& connection : met_[r]) met.by_rank[r].push_back(std::move(*connection));
    }
    return met;
  }

 private:
  std::optional<uint32_t> missing() const {
    for (uint32_t r = 0; r < ranks_; ++r) {
      if (r == options_.rank) continue;
      const auto there = [](const auto& connection) { return connection.has_value(); };
      if (!std::ranges::all_of(met_[r], there)) return r;
    }
    return std::nullopt;
  }
  bool complete() const { return !missing().has_value(); }

  [[noreturn]] void fail() const {
    const uint32_t rank = missing().value_or(0);
    const Address& address = options_.addresses[rank];
    const std::string who = "rank " + std::to_string(rank) + " (" + address.host + " port " +
                            std::to_string(address.port) + ")";
    const bool refuses = std::ranges::any_of(
        dials_, [&](const Dial& dial) { return dial.parties.to == rank && dial.refused; });
    if (refuses || wrong_key_[rank]) {
      throw Error("group_refused", who + " has another key: start all ranks of one attempt anew");
    }
    throw Error("group_connect_failed",
                who + " did not connect within " + std::to_string(options_.connect_ms) + " ms; " +
                    std::to_string(refused_) + " other callers were refused");
  }

  void wait() {
    watched_.clear();
    watched_.push_back({listener_.get(), POLLIN, 0});
    auto until = std::min(until_, Clock::now() + longest_pause);
    for (const Dial& dial : dials_) {
      if (dial.done) continue;
      if (dial.socket.open()) {
        const short event = dial.greeted ? POLLIN : POLLOUT;
        watched_.push_back({dial.socket.get(), event, 0});
      } else {
        until = std::min(until, dial.again);
      }
    }
    for (const Caller& caller : callers_) watched_.push_back({caller.socket.get(), POLLIN, 0});
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
    static_cast<void>(::poll(watched_.data(), static_cast<nfds_t>(watched_.size()),
                             static_cast<int>(std::max<int64_t>(0, left.count()))));
  }

  void start(Dial& dial) {
    dial.hello = make_hello(options_.key, dial.parties, random_key());
    dial.got = 0;
    dial.greeted = false;
    dial.until = Clock::now() + hello_time;
    dial.socket = begin_connect(options_.addresses[dial.parties.to]);
    if (!dial.socket.open()) put_off(dial);
  }

  static void put_off(Dial& dial) {
    dial.socket = Socket();
    dial.again = Clock::now() + dial.pause;
    dial.pause = std::min<Clock::duration>(dial.pause * 2, longest_pause);
  }

  void advance(Dial& dial) {
    if (Clock::now() >= dial.until) return put_off(dial);
    if (!dial.greeted) {
      pollfd watched{dial.socket.get(), POLLOUT, 0};
      if (::poll(&watched, 1, 0) == 0) return;
      if (connect_result(dial.socket) != 0) return put_off(dial);
      if (write_some(dial.socket, dial.hello).bytes != dial.hello.size()) return put_off(dial);
      dial.greeted = true;
    }
    const Move move = read_some(dial.socket, std::span(dial.answer).subspan(dial.got));
    dial.got += move.bytes;
    if (move.how == Moved::closed) {
      dial.refused = true;  // whoever has the key answers
      return put_off(dial);
    }
    if (dial.got < dial.answer.size()) return;
    dial.refused = !answer_is_proved(options_.key, dial.hello, dial.answer);
    if (dial.refused) return put_off(dial);
    const Mac proof = make_proof(options_.key, dial.hello, dial.answer);
    if (write_some(dial.socket, proof).bytes != proof.size()) return put_off(dial);
    dial.done = true;
    add(dial.parties.to, dial.parties.channel, std::move(dial.socket), dial.hello, dial.answer,
        true);
  }

  void add(uint32_t rank, uint32_t channel, Socket socket, const Hello& hello,
           const Answer& answer, bool called_them) {
    const Secrets secrets = make_secrets(options_.key, hello, answer);
    const Mac& out = called_them ? secrets.caller_to_called : secrets.called_to_caller;
    const Mac& in = called_them ? secrets.called_to_caller : secrets.caller_to_called;
    limit_silence(socket, options_.wait_ms + options_.silence_ms);
    met_[rank][channel].emplace(std::move(socket), out, in,
                                channel == liveness_channel ? 0 : most_frame_bytes);
  }

  /// False when the caller is done with, for good or ill.
  bool advance(Caller& caller) {
    const std::span<std::byte> whole = caller.answered ? std::span<std::byte>(caller.proof)
                                                       : std::span<std::byte>(caller.hello);
    const Move move = read_some(caller.socket, whole.subspan(caller.got));
    caller.got += move.bytes;
    if (move.how == Moved::closed || Clock::now() >= caller.until) return refuse();
    if (caller.got < whole.size()) return true;
    if (!caller.answered) return answer(caller) || refuse();
    const Parties parties = claimed_by(caller.hello).value_or(Parties{});
    if (!same(caller.proof, make_proof(options_.key, caller.hello, caller.answer)) ||
        met_[parties.from][parties.channel].has_value()) {
      return refuse();
    }
    add(parties.from, parties.channel, std::move(caller.socket), caller.hello, caller.answer,
        false);
    return false;
  }

  bool refuse() {
    ++refused_;
    return false;
  }

  bool answer(Caller& caller) {
    const auto parties = claimed_by(caller.hello);
    if (!parties || parties->ranks != ranks_ || parties->to != options_.rank ||
        parties->from <= options_.rank || parties->from >= ranks_ ||
        parties->channel >= channels) {
      return false;
    }
    if (!hello_is_proved(options_.key, caller.hello)) {
      wrong_key_[parties->from] = true;
      return false;
    }
    caller.answer = make_answer(options_.key, caller.hello, random_key());
    caller.answered = true;
    caller.got = 0;
    return write_some(caller.socket, caller.answer).bytes == caller.answer.size();
  }

  void take_callers() {
    for (size_t taken = 0; taken < most_callers; ++taken) {
      Socket socket = accept_from(listener_);
      if (!socket.open()) return;
      if (callers_.size() == most_callers) {
        const auto oldest = std::ranges::find_if(callers_, [](const Caller& c) {
          return !c.answered;
        });
        callers_.erase(oldest == callers_.end() ? callers_.begin() : oldest);
        ++refused_;
      }
      Caller& caller = callers_.emplace_back();
      caller.socket = std::move(socket);
      caller.until = Clock::now() + hello_time;
    }
  }

  const Socket& listener_;
  const GroupOptions& options_;
  const uint32_t ranks_;
  const Clock::time_point until_;
  std::vector<std::vector<std::optional<Connection>>> met_;  // by rank and channel
  std::vector<bool> wrong_key_;  // a hello that names this rank, with another key
  std::list<Dial> dials_;
  std::list<Caller> callers_;  // the oldest first
  std::vector<pollfd> watched_;
  uint64_t refused_ = 0;
};

}  // namespace

Met meet_all(const Socket& listener, const GroupOptions& options) {
  return Meeting(listener, options).run();
}

}  // namespace cidery::group
