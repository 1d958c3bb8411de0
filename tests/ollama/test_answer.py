"""Reading an answer, whatever way its bytes are cut."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.domain.outcomes import Blame, ErrorCode
from promptmill.ollama.answer import ANSWER_BOUND, LINE_BOUND, Answer
from tests.ollama.raw_host import LAST, WORD
from tests.ollama.recordings import recorded


def read(*chunks, chat=False):
    answer = Answer(chat=chat)
    for now, chunk in enumerate(chunks):
        if answer.feed(chunk, float(now)):
            break
    else:
        answer.end(float(len(chunks)))
    return answer


def outcome(*chunks, chat=False):
    answer = read(*chunks, chat=chat)
    assert answer.failed is None
    return answer.succeeded(latency_s=1.0, ttft_s=None)


def failure(*chunks, chat=False):
    answer = read(*chunks, chat=chat)
    assert answer.done_at is None
    return answer.failed


def line(**fields):
    return json.dumps(fields).encode() + b"\n"


@given(
    st.lists(st.integers(0, 4000), max_size=12), st.sampled_from(["generate_stream-1", "chat-0"])
)
@settings(max_examples=60)
def test_an_answer_is_the_same_however_its_bytes_are_cut(cuts, name):
    entry = recorded(name)
    chat = entry.path == "/api/chat"
    whole = entry.text.encode()
    edges = sorted({0, len(whole), *(cut % len(whole) for cut in cuts)})
    pieces = [whole[a:b] for a, b in itertools.pairwise(edges)]
    assert outcome(*pieces, chat=chat) == outcome(whole, chat=chat)


def test_one_byte_at_a_time_gives_the_same_answer():
    whole = WORD + LAST
    assert outcome(*(bytes([byte]) for byte in whole)) == outcome(whole)


def test_blank_lines_and_crlf_between_the_objects_mean_nothing():
    assert outcome(b"\n", WORD.replace(b"\n", b"\r\n"), b"\r\n \n", LAST).response == " ton"


def test_a_final_object_without_a_line_end_is_taken_at_the_end():
    assert outcome(WORD + LAST.rstrip()).response == " ton"


def test_the_first_text_and_the_end_are_timed_by_their_chunks():
    answer = read(line(response="", done=False), WORD, WORD, LAST)
    assert (answer.began_at, answer.done_at) == (1.0, 3.0)


def test_thinking_is_joined_apart_from_the_answer_and_counts_as_the_first_text():
    answer = read(
        line(response="", thinking="Let me", done=False),
        line(response="", thinking=" see.", done=False),
        line(response="4", done=False),
        LAST,
    )
    assert answer.began_at == 0.0
    succeeded = answer.succeeded(latency_s=1.0, ttft_s=0.0)
    assert (succeeded.response, succeeded.thinking) == ("4", "Let me see.")


def test_thinking_of_a_chat_is_in_its_message():
    message = {"role": "assistant", "content": "4", "thinking": "Hm."}
    succeeded = outcome(line(message=message, done=False), line(message=None, done=True), chat=True)
    assert (succeeded.response, succeeded.thinking) == ("4", "Hm.")


def test_what_follows_the_end_is_no_part_of_the_answer():
    assert outcome(LAST + WORD + line(error="late")).response == ""


def test_counters_that_are_missing_or_no_counts_are_none():
    succeeded = outcome(line(response="x", done=True, eval_count=True, eval_duration=-1, load_duration=2**63, total_duration=1.5, prompt_eval_count=7))  # fmt: skip
    metrics = succeeded.metrics
    assert metrics.prompt_eval_count == 7
    assert (
        metrics.eval_count
        is metrics.eval_duration
        is metrics.load_duration
        is metrics.total_duration
        is None
    )
    assert metrics.prompt_eval_duration is None


def test_a_reason_that_is_no_text_is_none():
    assert outcome(line(response="x", done=True, done_reason=5)).done_reason is None


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (rb"a\u0000b", "a\ufffdb"),
        (rb"a\ud800b", "a\ufffdb"),
        (rb"a\udc00", "a\ufffd"),
        (rb"\ud83d\ude00", "\U0001f600"),
        (b"caf\xe9", "caf\ufffd"),
        ("日本".encode(), "日本"),
    ],
)
def test_what_no_database_takes_becomes_the_replacement_character(sent, kept):
    body = b'{"response":"%b","thinking":"%b","done":true,"done_reason":"%b"}' % (sent, sent, sent)
    succeeded = outcome(body)
    assert (succeeded.response, succeeded.thinking) == (kept, kept)
    succeeded.response.encode()
    succeeded.done_reason.encode()
    assert "\x00" not in succeeded.done_reason


def test_a_character_that_was_escaped_over_two_chunks_is_whole_again():
    halves = rb'{"response":"\ud83d","done":false}', rb'{"response":"\ude00","done":true}'
    assert outcome(b"\n".join(halves)).response == "\U0001f600"


@pytest.mark.parametrize("text", ["", " \n", "0", "x" * 100_000])
def test_an_answer_of_any_text_is_an_answer(text):
    assert outcome(line(response=text, done=True)).response == text


def test_an_error_line_ends_the_answer_with_the_servers_words():
    words = "an error was encountered while running the model: unexpected EOF"
    failed = failure(WORD, line(error=words), LAST)
    assert (failed.code, failed.blame) == (ErrorCode.SERVER_ERROR, Blame.ATTEMPT)
    assert words in failed.message


@pytest.mark.parametrize(
    "last",
    [
        b"",
        WORD,
        WORD[:30],
        WORD[:-2],
        b"{",
        line(response="x", done=False),
        line(done="true"),
        line(done=1),
    ],
)
def test_an_end_without_done_true_is_incomplete(last):
    failed = failure(WORD, last)
    assert (failed.code, failed.blame) == (ErrorCode.INCOMPLETE, Blame.ATTEMPT)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html><head><title>Sign in</title></head><body>...", "Sign in"),
        (b"<p>Please\n<b>wait</b></p>\n", "Please"),
        (b"Ollama is running\n", "Ollama is running"),
        (b"[1]\n", "[1]"),
        (b'"text"\n', "text"),
        (b"null\n", "null"),
        (b"5\n", "5"),
        (b'{"detail":"x"}\n', "detail"),
        (b"[" * 100_000 + b"\n", "["),
        (b'{"a":' * 100_000 + b"\n", "a"),
        (b"\xff\xfe\x00\n", "\ufffd"),
    ],
)  # fmt: skip
def test_an_answer_that_is_not_ollamas_is_the_refusal_of_what_stands_there(body, words):
    failed = failure(body)
    assert (failed.code, failed.blame) == (ErrorCode.HOST_REFUSED, Blame.REFUSAL)
    assert words in failed.message
    assert len(failed.message) < 700
    assert "\n" not in failed.message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"response":["x"],"done":true}\n', "response"),
        (b'{"response":5,"done":true}\n', "response"),
        (b'{"response":{"a":1}}\n', "response"),
        (line(response="x") + b"<p>Oops</p>\n", "Oops"),
    ],
)
def test_a_line_that_is_not_ollamas_is_a_server_error_that_shows_it(body, words):
    failed = failure(body)
    assert (failed.code, failed.blame) == (ErrorCode.SERVER_ERROR, Blame.ATTEMPT)
    assert words in failed.message


def test_a_chat_message_that_is_no_object_is_a_server_error():
    assert failure(line(message="hi", done=True), chat=True).code is ErrorCode.SERVER_ERROR


def test_a_line_beyond_the_bound_is_given_up_before_it_ends():
    piece = b"x" * (LINE_BOUND // 4)
    answer = Answer(chat=False)
    assert [answer.feed(piece, 0.0) for _ in range(5)] == [False] * 4 + [True]
    assert answer.failed.code is ErrorCode.SERVER_ERROR
    assert "8 MB" in answer.failed.message


def test_a_line_beyond_the_bound_is_given_up_when_it_comes_at_once():
    assert "8 MB" in failure(line(response="x" * LINE_BOUND, done=True)).message


def test_a_line_within_the_bound_is_read():
    size = LINE_BOUND - 100
    assert len(outcome(line(response="x" * size, done=True)).response) == size


def test_an_endless_answer_is_given_up_at_its_bound():
    answer = Answer(chat=False)
    piece = line(response="x" * (4 * 1024 * 1024 - 100), done=False)
    fed = 0
    while not answer.feed(piece, 0.0):
        fed += len(piece)
    assert fed <= ANSWER_BOUND < fed + len(piece)
    assert answer.failed.code is ErrorCode.SERVER_ERROR
    assert "64 MB" in answer.failed.message


def test_a_long_line_in_small_chunks_takes_no_more_than_linear_time():
    # With quadratic copying this takes minutes, not milliseconds.
    whole = line(response="x" * (4 * 1024 * 1024), done=True)
    pieces = [whole[at : at + 1024] for at in range(0, len(whole), 1024)]
    assert len(outcome(*pieces).response) == 4 * 1024 * 1024
