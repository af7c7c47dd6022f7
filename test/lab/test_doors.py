"""Who is let in at the robot's ports, on a port of this test's own."""

import socket

import pytest

from como_ros.lab.doors import Doorman, Lobby

GREETING = b"hello"


@pytest.fixture
def lobby():
    plain = socket.socket()
    plain.bind(("127.0.0.1", 0))
    lobby = Lobby.of(plain, len(GREETING), lambda head: head == GREETING)
    lobby.settimeout(2.0)
    lobby.listen()
    yield lobby
    lobby.close()


def knock(lobby: Lobby, words: bytes) -> socket.socket:
    visitor = socket.create_connection(lobby.getsockname(), timeout=2)
    visitor.sendall(words)
    return visitor


def test_who_waits_without_a_word_is_turned_away_while_another_is_served(lobby):
    silent, polite = knock(lobby, b""), knock(lobby, GREETING)
    served, address = lobby.accept()
    assert address == polite.getsockname()
    with Doorman(lobby, served):
        with pytest.raises(ConnectionResetError):
            silent.recv(1)
        served.sendall(b"come in")
        assert polite.recv(7) == b"come in"
    for end in (silent, polite, served):
        end.close()


def test_while_one_is_served_the_next_is_refused_and_once_he_has_left_welcome(lobby, guest):
    first = knock(lobby, GREETING + b" and words that nobody reads")
    served, _ = lobby.accept()
    with Doorman(lobby, served):
        with pytest.raises(ConnectionResetError):  # sometimes before the knock is done
            guest(knock(lobby, b"")).recv(1)
        first.close()
        third = knock(lobby, GREETING)
    welcomed, address = lobby.accept()
    assert address == third.getsockname()
    for end in (third, served, welcomed):
        end.close()


def test_who_says_something_else_is_turned_away_and_nobody_is_let_in(lobby):
    lobby.settimeout(0.3)
    rude = knock(lobby, b"GET /")
    with pytest.raises(TimeoutError, match="nobody greeted"):
        lobby.accept()
    with pytest.raises(ConnectionResetError):
        rude.recv(1)
    rude.close()
