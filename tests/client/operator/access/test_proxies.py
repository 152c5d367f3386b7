"""A proxy is used, or not, as kubectl uses it in the same environment."""

from __future__ import annotations

import pytest

from dask_kubernetes.operator.access.proxies import proxy_for

PROXY = "http://proxy.example.com:3128"


@pytest.mark.parametrize(
    ("url", "exceptions", "is_asked_directly"),
    [
        ("https://10.96.0.1", "", False),
        ("https://10.96.0.1:443", "10.0.0.0/8,172.16.0.0/12,.svc,.cluster.local", True),
        ("https://11.96.0.1", "10.0.0.0/8,172.16.0.0/12", False),
        ("https://10.96.0.1", "192.168.0.0/16, 10.96.0.0/12", True),
        ("https://10.96.0.1", "10.96.0.9/12", True),
        ("https://10.96.0.1", "10.96.0.1", True),
        ("https://10.96.0.1", "10.96.0.1:443", True),
        ("https://10.96.0.1", "10.96.0.1:6443", False),
        ("https://10.96.0.1", "10.96.0.2", False),
        ("https://[fd00::1]:6443", "fd00::/8", True),
        ("https://[fd00::1]:6443", "[fd00::1]:6443", True),
        ("https://[fd00::1]:6443", "[fd00::1]", True),
        ("https://[fd00::1]:6443", "fd00::1", True),
        ("https://[fd00::1]:6443", "[fd00::1]:443", False),
        ("https://[fd00::1]:6443", "10.0.0.0/8", False),
        ("https://api.example.com", "10.0.0.0/8", False),
        ("https://api.example.com", "example.com", True),
        ("https://api.example.com", ".Example.com", True),
        ("https://api.example.com", "*.example.com", True),
        ("https://api.example.com.", "api.example.com", True),
        ("https://api.example.com:6443", "example.com:6443", True),
        ("https://api.example.com:6443", "example.com:443", False),
        ("https://api.example.com", "ample.com", False),
        ("https://example.com", ".example.com", False),
        ("https://kubernetes.default.svc", ".svc", True),
        ("https://api.example.com", "*", True),
        ("https://api.example.com", ",no/network,", False),
        ("https://127.0.0.1:6443", "", True),
        ("https://localhost:6443", "", True),
        ("https://[::1]:6443", "", True),
    ],
)
def test_exceptions(url: str, exceptions: str, is_asked_directly: bool) -> None:
    assert proxy_for(url, {"https": PROXY, "no": exceptions}) == (None if is_asked_directly else PROXY)


def test_a_proxy_is_for_its_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    assert proxy_for("http://api:80", {"https": PROXY}) is None
    assert proxy_for("http://api:80", {"https": "http://other", "all": "socks5://all"}) == "socks5://all"
    assert proxy_for("https://api", {"https": "proxy.example.com:3128"}) == PROXY
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert proxy_for("https://api") is None
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    assert proxy_for("https://api") == PROXY
