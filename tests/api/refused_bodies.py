"""Bodies that are refused, each with what the answer says; used by more than one test."""

from __future__ import annotations

NUMBER_OR_AUTO = "must be a whole number from 1 to 256, or `auto`"
_EMPTY = "must not be empty"
_STRING = "must be a string"
_NUL = "must not contain NUL characters (\\u0000); remove them"
_LONE = "must not contain lone surrogates (half of a \\ud83d\\ude00 pair); send valid text"
_NEITHER = "must have either `prompt` or `messages`, and not both"
_PROMPT = "must be a string, or an object with `prompt` or `messages`"
_CHAT = [{"role": "user", "content": "Hello!"}]


def _with(**fields: object) -> dict[str, object]:
    return {"prompts": ["a"], **fields}


def _prompt(**fields: object) -> dict[str, object]:
    return {"prompts": ["a", fields]}


NOT_VALID: dict[str, tuple[object, list[tuple[str, str]]]] = {
    "no object": (["a"], [("", "must be an object with a field `prompts`")]),
    "a string": ("a", [("", "must be an object with a field `prompts`")]),
    "null": (None, [("", "must be an object with a field `prompts`")]),
    "no prompts": ({}, [("/prompts", "is required")]),
    "prompts no list": ({"prompts": "a"}, [("/prompts", "must be a list of prompts")]),
    "no prompt": ({"prompts": []}, [("/prompts", "must have at least one prompt")]),
    "empty prompts": (
        {"prompts": ["", "a", " \n\t"]},
        [("/prompts/0", _EMPTY), ("/prompts/2", _EMPTY)],
    ),
    "empty prompt in an object": (_prompt(prompt=" "), [("/prompts/1/prompt", _EMPTY)]),
    "prompts of wrong types": (
        {"prompts": [1, None, True, ["a"]]},
        [(f"/prompts/{index}", _PROMPT) for index in range(4)],
    ),
    "unknown field": (
        _with(max_concurent=3),
        [("/max_concurent", "unknown field; did you mean `max_concurrent`?")],
    ),
    "a typo in prompts": (
        {"promts": ["a"]},
        [
            ("/promts", "unknown field; did you mean `prompts`?"),
            ("/prompts", "is required"),
        ],
    ),
    "a field of later versions": (
        _with(webhook_url="http://x"),
        [("/webhook_url", "unknown field; leave it out")],
    ),
    "stream, prompt and context": (
        _with(stream=True, prompt="a", context=[1]),
        [
            (
                "/stream",
                "has no meaning for a batch; leave it out (results can be read while it runs)",
            ),
            ("/prompt", "unknown field; did you mean `prompts`?"),
            (
                "/context",
                "is not supported: prompts of a batch are independent; use `messages` for a chat",
            ),
        ],
    ),
    "an unknown field with slash and tilde": (
        _with(**{"a/b~c": 1}),
        [("/a~1b~0c", "unknown field; leave it out")],
    ),
    "0 at once": (_with(max_concurrent=0), [("/max_concurrent", NUMBER_OR_AUTO)]),
    "257 at once": (_with(max_concurrent=257), [("/max_concurrent", NUMBER_OR_AUTO)]),
    "a numeral for a number": (
        _with(max_concurrent="5", rate_limit_delay="0.1"),
        [
            ("/max_concurrent", NUMBER_OR_AUTO),
            ("/rate_limit_delay", "must be a number"),
        ],
    ),
    "a fraction for a whole number": (
        _with(max_attempts=1.5),
        [("/max_attempts", "must be a whole number")],
    ),
    "true for a number": (
        _with(max_concurrent=True, rate_limit_delay=True, priority=False, timeout_s=True),
        [
            ("/max_concurrent", NUMBER_OR_AUTO),
            ("/rate_limit_delay", "must be a number"),
            ("/priority", "must be a whole number"),
            ("/timeout_s", "must be a number"),
        ],
    ),
    "null for prompts": ({"prompts": None}, [("/prompts", "is required")]),
    "a negative delay": (
        _with(rate_limit_delay=-0.1),
        [("/rate_limit_delay", "must be at least 0")],
    ),
    "a delay of hours": (
        _with(rate_limit_delay=3600.1),
        [("/rate_limit_delay", "must be at most 3600")],
    ),
    "a number that is too large": (
        b'{"prompts": ["a"], "rate_limit_delay": 1e999, "options": {"temperature": -1e999}}',
        [
            ("/rate_limit_delay", "must be a finite number; this one is too large for a float"),
            (
                "/options/temperature",
                "must be a finite number; this one is too large for a float",
            ),
        ],
    ),
    "no time at all": (_with(timeout_s=0), [("/timeout_s", "must be more than 0")]),
    "more than a day": (_with(timeout_s=86401), [("/timeout_s", "must be at most 86400")]),
    "attempts out of range": (_with(max_attempts=21), [("/max_attempts", "must be at most 20")]),
    "priority out of range": (_with(priority=-101), [("/priority", "must be at least -100")]),
    "no model name": (_with(model=""), [("/model", _EMPTY)]),
    "a model name with spaces": (
        _with(model=" qwen3:8b"),
        [
            (
                "/model",
                (
                    "must be a model name such as `qwen3:8b`: letters, digits and `_ . : / @ -`,"
                    " no spaces"
                ),
            )
        ],
    ),
    "metadata of wrong types": (
        _with(metadata={"a": 1, "b": None, "": "x"}),
        [("/metadata/a", _STRING), ("/metadata/b", _STRING), ("/metadata/", _EMPTY)],
    ),
    "metadata no object": (_with(metadata=["a"]), [("/metadata", "must be an object")]),
    "17 pairs of metadata": (
        _with(metadata={str(number): "x" for number in range(17)}),
        [("/metadata", "must have at most 16 entries")],
    ),
    "long metadata": (
        _with(metadata={"a": "x" * 513, "k" * 65: "x"}),
        [
            ("/metadata/a", "must have at most 512 characters"),
            ("/metadata/" + "k" * 65, "must have at most 64 characters"),
        ],
    ),
    "an option of a wrong type": (
        _with(options={"num_ctx": "4096", "temperature": True, "stop": "x", "use_mmap": 1}),
        [
            ("/options/num_ctx", "must be a whole number"),
            ("/options/temperature", "must be a number"),
            ("/options/stop", "must be a list"),
            ("/options/use_mmap", "must be true or false"),
        ],
    ),
    "an unknown option": (
        _with(options={"num_context": 4096}),
        [("/options/num_context", "unknown field; did you mean `num_ctx`?")],
    ),
    "fields of Ollama of wrong types": (
        _with(
            system=1,
            template=[],
            raw="yes",
            format="xml",
            options=[],
            keep_alive=True,
            think="very",
            images="aaaa",
            truncate=0,
            shift="no",
            logprobs=1,
            top_logprobs=21,
        ),
        [
            ("/system", _STRING),
            ("/template", _STRING),
            ("/raw", "must be true or false"),
            ("/format", 'must be "json" or a JSON Schema object'),
            ("/options", "must be an object"),
            (
                "/keep_alive",
                (
                    'must be a number of seconds, or a duration with a unit such as "5m", "1h30m"'
                    ' or "-1s"'
                ),
            ),
            ("/think", 'must be true, false, "low", "medium", "high" or "max"'),
            ("/images", "must be a list"),
            ("/truncate", "must be true or false"),
            ("/shift", "must be true or false"),
            ("/logprobs", "must be true or false"),
            ("/top_logprobs", "must be at most 20"),
        ],
    ),
    "formats that are no sound schema": (
        {
            "prompts": [
                "a",
                {"prompt": "b", "format": {"type": "objekt"}},
                {"messages": _CHAT, "format": {"$ref": "#/$defs/none"}},
                {"prompt": "c", "format": {"pattern": "{braces"}},
            ],
            "format": {"properties": {"a": {"$ref": "https://example.com/a.json"}}},
        },
        [
            (
                "/format",
                (
                    "has the `$ref` `https://example.com/a.json`; only references within the schema,"
                    " which begin with `#`, are followed"
                ),
            ),
            (
                "/prompts/1/format",
                (
                    'is no valid JSON Schema: `$.type` is "objekt", which breaks "enum": ["array",'
                    '"boolean","integer","null","number","object","string"]'
                ),
            ),
            ("/prompts/2/format", "has the `$ref` `#/$defs/none`, which leads nowhere"),
            (
                "/prompts/3/format",
                (
                    "has the regular expression `{braces`, which cannot be used: repetition operator"
                    " missing expression"
                ),
            ),
        ],
    ),
    "failures that are none": (
        _with(fail_on=["empty", "timeout"]),
        [
            (
                "/fail_on/1",
                "must be 'prompt_truncated', 'truncated', 'empty', 'invalid_json' or 'schema_mismatch'",
            )
        ],
    ),
    "a failure twice": (
        _with(fail_on=["empty", "truncated", "empty"]),
        [("/fail_on", "has `empty` twice")],
    ),
    "failures no list": (_with(fail_on="empty"), [("/fail_on", "must be a list")]),
    "a keep_alive without unit": (
        _with(keep_alive="5"),
        [
            (
                "/keep_alive",
                (
                    'must be a number of seconds, or a duration with a unit such as "5m", "1h30m"'
                    ' or "-1s"'
                ),
            )
        ],
    ),
    "images that are none": (
        _with(images=["", "data:image/png;base64,aaaa", "a!", 5]),
        [
            ("/images/0", "must be a string: an image file in base64"),
            (
                "/images/1",
                "must be bare base64; leave out everything up to and with `base64,`",
            ),
            ("/images/2", "is not valid base64 (RFC 4648, padded)"),
            ("/images/3", "must be a string: an image file in base64"),
        ],
    ),
    "raw with a system message": (
        _with(raw=True, system="x"),
        [("/system", "cannot go with `raw`, which sends the prompt as it is")],
    ),
    "neither prompt nor messages": (_prompt(id="x"), [("/prompts/1", _NEITHER)]),
    "both prompt and messages": (
        _prompt(prompt="a", messages=_CHAT),
        [("/prompts/1", _NEITHER)],
    ),
    "unknown fields of a prompt": (
        _prompt(prompt="a", sistem="x", options={"num_ctxx": 1}),
        [
            ("/prompts/1/sistem", "unknown field; did you mean `system`?"),
            ("/prompts/1/options/num_ctxx", "unknown field; did you mean `num_ctx`?"),
        ],
    ),
    "limits of a single prompt": (
        _prompt(prompt="a", max_concurrent=1),
        [("/prompts/1/max_concurrent", "unknown field; leave it out")],
    ),
    "no messages": (
        _prompt(messages=[]),
        [("/prompts/1/messages", "must have at least 1 entry")],
    ),
    "empty messages": (
        _prompt(messages=[{"role": "user", "content": " "}]),
        [("/prompts/1/messages", _EMPTY)],
    ),
    "wrong messages": (
        _prompt(messages=[{"role": "usr", "content": 5, "contents": "x"}, "hi"]),
        [
            (
                "/prompts/1/messages/0/role",
                "must be 'system', 'user', 'assistant' or 'tool'",
            ),
            ("/prompts/1/messages/0/content", _STRING),
            (
                "/prompts/1/messages/0/contents",
                "unknown field; did you mean `content`?",
            ),
            ("/prompts/1/messages/1", "must be an object"),
        ],
    ),
    "fields that a chat has not": (
        _prompt(messages=_CHAT, suffix="x", images=["aaaa"]),
        [
            ("/prompts/1/suffix", "has no meaning with `messages`; leave it out"),
            ("/prompts/1/images", "has no meaning with `messages`; put them into the message"),
        ],
    ),
    "fields of the batch that a chat has not": (
        {"prompts": ["a", {"messages": _CHAT}], "template": "x"},
        [
            (
                "/template",
                (
                    "has no meaning for a prompt with `messages`, such as prompt 1; give it in the"
                    " prompts that it is for"
                ),
            )
        ],
    ),
    "tools without messages": (
        _prompt(prompt="a", tools=[]),
        [("/prompts/1/tools", "needs `messages`; Ollama has tools in chats only")],
    ),
    "an id twice": (
        {
            "prompts": [
                {"prompt": "a", "id": "x"},
                {"prompt": "b", "id": "x"},
                {"prompt": "c", "id": "x"},
            ]
        },
        [
            ("/prompts/1/id", "is already the id of prompt 0"),
            ("/prompts/2/id", "is already the id of prompt 0"),
        ],
    ),
    "ids that are none": (
        {"prompts": [{"prompt": "a", "id": ""}, {"prompt": "b", "id": 7}]},
        [("/prompts/0/id", _EMPTY), ("/prompts/1/id", _STRING)],
    ),
    "NUL characters": (
        {
            "prompts": [
                "a\0",
                {"prompt": "b\0"},
                {"messages": [{"role": "user", "content": "\0"}]},
            ],
            "system": "\0",
            "metadata": {"a": "\0"},
            "options": {"stop": ["x", "\0"]},
        },
        [
            ("/prompts/0", _NUL),
            ("/prompts/1/prompt", _NUL),
            ("/prompts/2/messages/0/content", _NUL),
            ("/system", _NUL),
            ("/metadata/a", _NUL),
            ("/options/stop/1", _NUL),
        ],
    ),
    "lone surrogates": (
        {
            "prompts": ["a\ud800", {"prompt": "b", "id": "\udfff"}],
            "model": "\ud800",
            "metadata": {"\ud800": "x"},
            "format": {"type": "object", "title": "\udc00"},
        },
        [
            ("/prompts/0", _LONE),
            ("/prompts/1/id", _LONE),
            ("/model", _LONE),
            ("/metadata/\ud800", "has a NUL character or a lone surrogate in its name"),
            ("/format/title", _LONE),
        ],
    ),
    "a name twice": (
        b'{"prompts": ["a"], "model": "x", "model": "y", "options": {"seed": 1, "seed": 2}}',
        [
            ("/model", "is given twice; give it once"),
            ("/options", "has the name `seed` twice in one object; give it once"),
        ],
    ),
    "a name twice in a prompt": (
        b'{"prompts": [{"prompt": "a", "prompt": "b"}]}',
        [("/prompts/0", "has the name `prompt` twice in one object; give it once")],
    ),
    "prompts twice": (
        b'{"prompts": ["a"], "prompts": ["b"]}',
        [("/prompts", "is given twice; give it once")],
    ),
    "far too many options": (
        _with(options={f"o{number}": 1 for number in range(1001)}),
        [("/options", "has 1001 members; at most 1000 are accepted")],
    ),
    "everything at once": (
        {"prompts": ["", {"prompt": "a", "x": 1}], "max_concurrent": 0, "metadata": {"a": 1}},
        [
            ("/prompts/0", _EMPTY),
            ("/prompts/1/x", "unknown field; leave it out"),
            ("/max_concurrent", NUMBER_OR_AUTO),
            ("/metadata/a", _STRING),
        ],
    ),
}

MALFORMED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "The body is empty"),
    "a word": (b"hello", "Expecting value at line 1 column 1."),
    "an unclosed object": (b'{"prompts": ["a"]', "Expecting ',' or '}' at line 1 column 18."),
    "a comma too much": (b'{"prompts": ["a",]}', "Illegal trailing comma"),
    "single quotes": (b"{'prompts': ['a']}", "property name enclosed in double quotes"),
    "more after the end": (b'{"prompts": ["a"]} {}', "Extra data"),
    "NaN": (b'{"prompts": ["a"], "rate_limit_delay": NaN}', "NaN is no JSON number"),
    "Infinity": (b'{"prompts": ["a"], "timeout_s": -Infinity}', "-Infinity is no JSON number"),
    "a raw newline in a string": (b'{"prompts": ["a\nb"]}', "Invalid control character"),
    "no UTF-8": (b'{"prompts": ["\xff"]}', "not UTF-8"),
    "UTF-16": ('{"prompts": ["a"]}'.encode("utf-16"), "not UTF-8"),
    "deep nesting": (b'{"prompts": ["a"], "format": ' + b"[" * 100_000, "nested deeper"),
    "deep but whole": (
        b'{"prompts": ["a"], "format": ' + b'{"a":' * 200 + b"1" + b"}" * 201,
        "nested deeper",
    ),
    "a number without end": (b'{"prompts": ["a"], "priority": ' + b"1" * 5000 + b"}", "digits"),
}
