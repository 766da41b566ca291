"""Calls the tools of this session's agent, from code in its environment.

    import stead_tools
    stead_tools.tools()                       # their names, descriptions and parameters
    stead_tools.call("get_weather", city="Oslo")   # the tool's output, as text

A call takes as long as it takes: it may wait for a person's approval, and for its turn
where many are made. A tool that fails raises ToolError.
"""
import http.client
import json
import os
import socket
import time
import urllib.parse


class ToolError(Exception):
    """What the tool, or whoever had to allow it, said."""


class _Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(os.environ["STEAD_TOOLS"])


def _ask(method, path, body=None):
    while True:
        connection = _Connection("tools")
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 429:  # too many at once: this one was not made
            return answer
        time.sleep(int(response.headers.get("Retry-After", 1)))


def tools():
    """Returns a list of {name, description, parameters}."""
    answer = _ask("GET", "/tools")
    if answer.get("error"):
        raise ToolError(answer["error"])
    return answer["tools"]


def call(name, /, **arguments):
    """Calls a tool and returns its output."""
    answer = _ask("POST", "/tools/" + urllib.parse.quote(name, safe=""), json.dumps(arguments))
    if answer["error"] is not None:
        raise ToolError(answer["error"])
    return answer["output"]
