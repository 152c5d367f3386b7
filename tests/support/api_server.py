"""A client of a real API server, by Kubernetes' own Python client, with the JSON unchanged."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException
from kubernetes.config import new_client_from_config
from urllib3.exceptions import HTTPError

JSON = "application/json"
_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_STRICT = [("fieldValidation", "Strict")]
_PATIENCE = 120.0  # seconds for one answer


class RequestError(Exception):
    """The API server refused a request or did not answer. `reason`: of its Status, or ""."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Resource:
    """A resource of the API server. `base`: the path of its group and version."""

    base: str
    plural: str
    api_version: str
    kind: str
    namespaced: bool
    names: frozenset[str]
    categories: frozenset[str]

    @property
    def group(self) -> str:
        """The API group; "" for the core group."""
        return self.api_version.rpartition("/")[0]

    def path(self, namespace: str, name: str = "") -> str:
        where = [self.base, f"namespaces/{namespace}"] if self.namespaced else [self.base]
        return "/".join([*where, self.plural, *([name] if name else [])])


@dataclass
class ApiServer:
    """An API server, with connections kept open between requests."""

    client: ApiClient
    _known: list[Resource] = field(default_factory=list)

    def get(self, path: str, query: Sequence[tuple[str, Any]] = ()) -> dict[str, Any]:
        return self._request("GET", path, query)

    def create(self, path: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
        return self._request("POST", path, _STRICT, manifest, {"Content-Type": JSON})

    def apply(self, path: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Apply a manifest, also against other field managers."""
        query = [*_STRICT, ("fieldManager", "tests"), ("force", "true")]
        return self._request("PATCH", path, query, _yaml(manifest), {"Content-Type": "application/apply-patch+yaml"})

    def delete(self, path: str) -> None:
        self._request("DELETE", path)

    def watch(self, path: str, query: Sequence[tuple[str, Any]], seconds: float) -> Iterator[dict[str, Any]]:
        """Yield the events of a watch, which the API server ends after `seconds`."""
        query = [*query, ("watch", "true"), ("timeoutSeconds", max(1, round(seconds)))]
        answer = self._answer("GET", path, query, None, {"Accept": JSON}, (_PATIENCE, seconds + _PATIENCE))
        try:
            rest = b""
            for chunk in answer.response.stream(amt=None):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from map(json.loads, filter(None, lines))
        except HTTPError as broken:
            raise RequestError(str(broken)) from broken
        finally:
            answer.response.release_conn()

    def may(self, user: str, verb: str, resource: Resource, namespace: str, subresource: str = "") -> bool:
        """Return whether a user may use a verb on a resource in a namespace."""
        what = {"group": resource.group, "resource": resource.plural, "subresource": subresource}
        spec = {
            "user": user,
            "groups": ["system:authenticated"],
            "resourceAttributes": {"namespace": namespace, "verb": verb, **what},
        }
        answer = self.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", {"spec": spec})
        return bool(answer["status"]["allowed"])

    def resource(self, name: str) -> Resource:
        """Find a resource by plural, singular or short name, or by kind. Raises RequestError if it does not exist."""
        return self._found(name.lower(), lambda resource: resource.names)[0]

    def resources(self, name: str) -> list[Resource]:
        """Find the resources of a category, such as `all`, or the one with this name."""
        found = self._found(name.lower(), lambda resource: resource.names | resource.categories)
        return [each for each in found if name in each.categories] or found[:1]

    def resource_of(self, manifest: Mapping[str, Any]) -> Resource:
        return self.resource(f"{manifest['kind']}.{manifest['apiVersion']}")

    def _found(self, name: str, names: Callable[[Resource], frozenset[str]]) -> list[Resource]:
        for known in self._resources, self._discover:
            if found := [resource for resource in known() if name in names(resource)]:
                return found
        raise RequestError(f"the API server has no resource {name!r}")

    def _resources(self) -> list[Resource]:
        return self._known

    def _discover(self) -> list[Resource]:
        self._known = [
            _resource(f"{root}/{api_version}", api_version, each)
            for root in ("/api", "/apis")
            for group in self._request("GET", root, headers={"Accept": _DISCOVERY})["items"]
            for version in group["versions"]
            for api_version in ["/".join(filter(None, [group["metadata"].get("name"), version["version"]]))]
            for each in version.get("resources", [])
        ]
        return self._known

    def _request(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, Any]] = (),
        body: Mapping[str, Any] | str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        answer = self._answer(method, path, query, body, {"Accept": JSON, **(headers or {})}, _PATIENCE)
        try:
            decoded: dict[str, Any] = json.loads(answer.read())
        except HTTPError as broken:
            raise RequestError(str(broken)) from broken
        return decoded

    def _answer(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, Any]],
        body: Mapping[str, Any] | str | None,
        headers: Mapping[str, str],
        timeout: Any,
    ) -> Any:
        request = self.client.param_serialize(
            method,
            path,
            query_params=list(query),
            header_params=dict(headers),
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            answer = self.client.call_api(*request, _request_timeout=timeout)
            if answer.status >= 300:
                answer.read()
                self.client.response_deserialize(answer, {})
        except ApiException as refused:
            raise _error_of(refused) from refused
        except HTTPError as broken:
            raise RequestError(str(broken)) from broken
        return answer


def _resource(base: str, api_version: str, served: Mapping[str, Any]) -> Resource:
    """Return a resource from the API server's discovery."""
    plural, kind = served["resource"], served["responseKind"]["kind"]
    names = [plural, served.get("singularResource", ""), kind, *served.get("shortNames", [])]
    names += [f"{kind}.{api_version}", f"{plural}.{api_version.rpartition('/')[0]}"]
    return Resource(
        base,
        plural,
        api_version,
        kind,
        namespaced=served["scope"] == "Namespaced",
        names=frozenset(name.lower() for name in names),
        categories=frozenset(served.get("categories", [])),
    )


def _yaml(manifest: Mapping[str, Any]) -> str:
    """Return a manifest in JSON that is also YAML, with one escape, not two, for a character beyond 16 bits."""

    def one(pair: re.Match[str]) -> str:
        character: str = json.loads(f'"{pair[0]}"')
        return f"\\U{ord(character):08x}"

    return re.sub(r"\\ud[89ab]..\\ud[c-f]..", one, json.dumps(manifest))


def _error_of(refused: ApiException) -> RequestError:
    try:
        status = json.loads(refused.body or "")
        return RequestError(status["message"], status["reason"])
    except (TypeError, ValueError, KeyError):
        return RequestError(f"{refused.status} {refused.reason}: {refused.body}")


@cache
def api_server(kubeconfig: Path) -> ApiServer:
    """Return the API server of a kubeconfig; the same one for the same file."""
    return ApiServer(new_client_from_config(config_file=str(kubeconfig)))
