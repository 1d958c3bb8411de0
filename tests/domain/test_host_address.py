import pytest

from promptmill.domain.hosts.address import is_of_the_machine, parse_ollama_host


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (None, "http://127.0.0.1:11434"),
        ("", "http://127.0.0.1:11434"),
        ("  ", "http://127.0.0.1:11434"),
        ("localhost", "http://localhost:11434"),
        ("LocalHost", "http://localhost:11434"),
        ("gpu_box", "http://gpu_box:11434"),
        ("gpu-1.lan.", "http://gpu-1.lan.:11434"),
        ("192.168.1.20", "http://192.168.1.20:11434"),
        ("host:1", "http://host:1"),
        ("host:", "http://host:11434"),
        (":56789", "http://127.0.0.1:56789"),
        (":", "http://127.0.0.1:11434"),
        ("http://", "http://127.0.0.1:80"),
        ("http://h", "http://h:80"),
        ("HTTP://h", "http://h:80"),
        ("https://h", "https://h:443"),
        ("https://h:8443", "https://h:8443"),
        ("http://h/", "http://h:80"),
        ("h:1/ollama/", "http://h:1/ollama"),
        ("https://h/a/b", "https://h:443/a/b"),
        ("h/%7Eme", "http://h:11434/%7Eme"),
        ("/", "http://127.0.0.1:11434"),
        ("::1", "http://[::1]:11434"),
        ("[::1]", "http://[::1]:11434"),
        ("[::1]:1", "http://[::1]:1"),
        ("[2001:DB8::0:1]:1", "http://[2001:db8::1]:1"),
        ("2001:db8::1", "http://[2001:db8::1]:11434"),
        ("https://[2001:db8::1]/x", "https://[2001:db8::1]:443/x"),
        ("bücher.example", "http://xn--bcher-kva.example:11434"),
        ("ollama.com", "https://ollama.com:443"),
        ("http://ollama.com", "http://ollama.com:80"),
    ],
)
def test_every_form_that_ollamas_clients_accept_becomes_one_base_url(text, url):
    assert parse_ollama_host(text) == url


@pytest.mark.parametrize("text", [' "h:1" ', "'h:1'", "\th:1\n", '" h:1 "'])
def test_spaces_and_quotes_around_the_address_are_stripped_as_go_does(text):
    assert parse_ollama_host(text) == "http://h:1"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("http://0.0.0.0:11434", "http://127.0.0.1:11434"),
        ("::", "http://[::1]:11434"),
        ("[::]:8080", "http://[::1]:8080"),
        ("[0:0::0]:8080", "http://[::1]:8080"),
    ],
)
def test_an_address_that_only_a_server_can_listen_on_becomes_loopback(text, url):
    assert parse_ollama_host(text) == url


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("h:x", "1 to 65535"),
        ("h:65536", "1 to 65535"),
        ("h:0", "1 to 65535"),
        ("h:-1", "1 to 65535"),
        ("h:٣", "1 to 65535"),
        ("h:" + "9" * 5000, "1 to 65535"),
        ("ftp://h", "http:// or https://"),
        ("unix:///run/x", "http:// or https://"),
        ("h?x=1", "address alone"),
        ("h#x", "address alone"),
        ("http://h:11434/v1", "leave '/v1' out"),
        ("h/v1/", "leave '/v1/' out"),
        ("h/v1/chat/completions", "leave '/v1/chat/completions' out"),
        ("http://h:11434/api/generate", "leave '/api/generate' out"),
        ("a b", "write it like"),
        ("h\x00", "write it like"),
        ("-h", "write it like"),
        ("a..b", "write it like"),
        ("a" * 64 + ".example", "write it like"),
        ("h" * 300, "write it like"),
        ("//h", "names no host"),
        ("http:///api", "names no host"),
        ("h/a b", "path"),
        ("[::1", "bracket"),
        ("[::1]1", "bracket"),
        ("[h]:1", "brackets"),
        ("1:2:3", "write it like"),
        ("fe80::1%eth0", "without '%'"),
        ("11434", "':11434'"),
        ("\ud800", "write it like"),
    ],
)
def test_what_is_no_address_is_refused_with_a_message_that_says_the_fix(text, fix):
    with pytest.raises(ValueError) as refused:
        parse_ollama_host(text)
    assert fix in str(refused.value)
    assert type(refused.value) is ValueError


def test_a_password_in_the_address_is_refused_and_not_repeated_in_the_message():
    with pytest.raises(ValueError, match="password") as refused:
        parse_ollama_host("http://me:hunter2@h")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("text", ["h", ":1", "::1", "https://h/x", "ollama.com", "bücher.example"])
def test_parsing_its_own_result_changes_nothing(text):
    once = parse_ollama_host(text)
    assert parse_ollama_host(once) == once


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1",
        "127.8.9.10:1",
        "0.0.0.0",
        "::1",
        "[::ffff:127.0.0.1]:11434",
        "localhost",
        "http://LOCALHOST./ollama",
        "ollama.localhost",
        "host.docker.internal",
        "https://host.docker.internal:8443/x",
        "host.containers.internal",
    ],
)
def test_an_address_that_each_machine_has_for_itself_is_of_the_machine(text):
    assert is_of_the_machine(parse_ollama_host(text))


@pytest.mark.parametrize(
    "text",
    [
        *("gpu-1", "192.168.1.20", "128.0.0.1", "2001:db8::1", "[::ffff:192.168.1.20]:1"),
        *("localhost.example.com", "notlocalhost", "docker.internal", "gpu/localhost"),
    ],
)
def test_any_other_address_is_of_the_network(text):
    assert not is_of_the_machine(parse_ollama_host(text))
