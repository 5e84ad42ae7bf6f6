"""Everything that can go wrong, as types that carry facts and know nothing of HTTP.

::

    StackError
    ├── RequestError                     the caller can mend it
    │   ├── InvalidParameter             a field is missing, unknown, of the wrong type or out of its bounds
    │   ├── UnsupportedParameter         the field is known, this server does not build on it (yet)
    │   ├── UnstorableText               U+0000 where the database holds plain text
    │   ├── MutuallyExclusiveParameters
    │   ├── NotFound
    │   │   ├── ConversationNotFound, ItemNotFound, ReferencedItemNotFound
    │   │   ├── ResponseNotFound, PromptNotFound, ProviderNotFound, RouteNotFound
    │   ├── MethodNotAllowed
    │   ├── PreviousResponseNotFound
    │   ├── ModelNotFound
    │   ├── CursorNotFound               ``after`` or ``before`` names nothing in this list
    │   ├── DuplicateItem
    │   ├── NotInBackground              only background responses can be cancelled
    │   ├── ConversationLocked           another turn is running on the conversation
    │   ├── IdempotencyKeyReused         an idempotency key is used again for another request
    │   ├── AnswerNotKept                what a request was answered is too long to be told again
    │   ├── RequestTooLarge, HeadTooLarge
    │   ├── NotHTTP
    │   ├── OriginForbidden, HostForbidden
    │   ├── TooManyMessages, TooManyLanes, ConnectionExpired             limits of a WebSocket connection
    │   ├── StreamStalled                the caller does not read what it is sent
    │   └── ToolServerForbidden          the policy denies a tool server's address
    ├── UpstreamError                    a model server failed us
    │   ├── UpstreamRejected             it calls the request wrong (400, 413, 422)
    │   ├── UpstreamDenied               it refuses our credentials (401, 403)
    │   ├── UpstreamModelNotFound        it does not know the model (404)
    │   ├── UpstreamRateLimited          429
    │   ├── UpstreamFailed               5xx
    │   ├── UpstreamUnreachable          no connection
    │   ├── UpstreamTimedOut
    │   ├── UpstreamDisconnected         the connection ended in mid-answer
    │   ├── UpstreamGarbled              the answer is not of the protocol
    │   ├── RecordingMissing             nothing is recorded that a replay could answer with
    │   └── RecordingUnreadable          a recording's file is not one
    ├── ToolFailed                       a tool server could not be reached, or does not keep to its protocol
    ├── SearchFailed                     a search service could not be reached, or did not answer as it should
    ├── TurnLost                         a turn's lease ran out before it could be committed
    ├── IdempotencyKeyLost               a key's lease ran out before its request had an effect
    ├── Overloaded                       try again later
    │   └── QueueFull
    ├── NotReady                         the server lives, but its database cannot be written to, or it shuts down
    ├── ShuttingDown                     try again later
    ├── ConfigError                      run.yaml, or what it names, is wrong
    │   └── EnvVarError
    └── StorageError
        ├── DatabaseTooNew
        ├── StorageUnavailable
        └── OutcomeUnknown
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class StackError(Exception):
    """Base of every error that this package raises on purpose."""


class RequestError(StackError):
    """The caller's request cannot be served as it stands."""


class InvalidParameter(RequestError):
    """A field of the request is missing, unknown, of the wrong type or out of its bounds.

    Args:
        message: What is wrong, with the limit where there is one.
        param: Path of the field, such as ``items[3].content[0].text``; ``None`` when it is the body as a whole.
        code: One of the API's codes, such as ``invalid_type`` or ``array_above_max_length``, where it has any.
    """

    def __init__(self, message: str, *, param: str | None, code: str | None = "invalid_value") -> None:
        super().__init__(message)
        self.message, self.param, self.code = message, param, code


class UnsupportedParameter(RequestError):
    """The field is part of the API, and this server does not support it."""

    def __init__(self, param: str, detail: str | None = None) -> None:
        super().__init__(detail or f"Unsupported parameter: '{param}' is not supported by this server.")
        self.param = param


class UnstorableText(RequestError):
    """A text of the request holds the character U+0000, where the database holds it as plain text."""

    def __init__(self) -> None:
        super().__init__("An id, a name or another short text holds the character U+0000, which cannot be stored.")


class MutuallyExclusiveParameters(RequestError):
    """Two fields exclude each other."""

    def __init__(self, *params: str) -> None:
        names = " and ".join(f"'{param}'" for param in params)
        super().__init__(f"Mutually exclusive parameters: {names}. Ensure you are only providing one of them.")
        self.params = params


class NotFound(RequestError):
    """The named thing does not exist, or not for this caller: the two are not told apart."""


class ConversationNotFound(NotFound):
    """No such conversation for this caller."""

    def __init__(self, conversation_id: str) -> None:
        super().__init__(f"Conversation with id '{conversation_id}' not found.")
        self.conversation_id = conversation_id


class ItemNotFound(NotFound):
    """No such item in the conversation."""

    def __init__(self, item_id: str, conversation_id: str) -> None:
        super().__init__(f"Item with id '{item_id}' not found in conversation.")
        self.item_id, self.conversation_id = item_id, conversation_id


class ReferencedItemNotFound(NotFound):
    """An ``item_reference`` names an item that this caller cannot read."""

    def __init__(self, item_id: str) -> None:
        super().__init__(f"Item with id '{item_id}' not found.")
        self.item_id = item_id


class ResponseNotFound(NotFound):
    """No such response for this caller."""

    def __init__(self, response_id: str) -> None:
        super().__init__(f"Response with id '{response_id}' not found.")
        self.response_id = response_id


class PromptNotFound(NotFound):
    """No such prompt, or no such version of it."""

    def __init__(self, prompt_id: str, version: int | None = None) -> None:
        of = f" and version '{version}'" if version is not None else ""
        super().__init__(f"Prompt with id '{prompt_id}'{of} not found.")
        self.prompt_id, self.version = prompt_id, version


class ProviderNotFound(NotFound):
    """No provider of that id is part of this stack."""

    def __init__(self, provider_id: str) -> None:
        super().__init__(f"Provider with id '{provider_id}' not found.")
        self.provider_id = provider_id


class RouteNotFound(NotFound):
    """No route has that path."""

    def __init__(self, method: str, path: str) -> None:
        super().__init__(f"Invalid URL ({method} {path})")
        self.method, self.path = method, path


class MethodNotAllowed(RequestError):
    """The path exists, but not for that method."""

    def __init__(self, method: str, path: str, allowed: Sequence[str]) -> None:
        super().__init__(f"Not allowed to {method} on {path} (allowed: {', '.join(allowed)}).")
        self.method, self.path, self.allowed = method, path, tuple(allowed)


class PreviousResponseNotFound(RequestError):
    """``previous_response_id``, or a response further back in its chain, does not exist for this caller."""

    def __init__(self, response_id: str) -> None:
        super().__init__(f"Previous response with id '{response_id}' not found.")
        self.response_id = response_id


class ModelNotFound(RequestError):
    """No model of that name is served here, or the bare name fits several providers' models."""

    def __init__(self, model: str, candidates: Sequence[str] = ()) -> None:
        super().__init__(
            f"The model '{model}' is served by several providers: name one of {', '.join(candidates)}."
            if candidates
            else f"The requested model '{model}' does not exist."
        )
        self.model, self.candidates = model, tuple(candidates)


class DuplicateItem(RequestError):
    """The conversation holds an item of that id already, or the batch holds it twice."""

    def __init__(self, item_id: str) -> None:
        super().__init__(
            f"Duplicate item found with id '{item_id}'. Remove duplicate items from your input and try again."
        )
        self.item_id = item_id


class CursorNotFound(RequestError):
    """``after`` or ``before`` names nothing in the list that is paged."""

    def __init__(self, param: str, cursor: str) -> None:
        super().__init__(f"Invalid '{param}': no entry with id '{cursor}' is in this list.")
        self.param, self.cursor = param, cursor


class ConversationLocked(RequestError):
    """Another turn is running on the conversation."""

    def __init__(self, conversation_id: str) -> None:
        super().__init__(
            f"Another process is currently operating on conversation '{conversation_id}'. "
            "Please retry in a few seconds."
        )
        self.conversation_id = conversation_id


class NotInBackground(RequestError):
    """A response that was not created with ``background: true``, or that has ended, cannot be cancelled."""

    def __init__(self, response_id: str, reason: str) -> None:
        super().__init__(f"Response with id '{response_id}' cannot be cancelled: {reason}.")
        self.response_id = response_id


class IdempotencyKeyReused(RequestError):
    """An idempotency key belongs to another request: of another method, path, query or body."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"The idempotency key '{key}' was used for another request before. To repeat a request, send the same "
            "body to the same URL; for another one, use a new key."
        )
        self.key = key


class AnswerNotKept(RequestError):
    """A request with an idempotency key was carried out, and its answer is too long to be kept and told again."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"The request with the idempotency key '{key}' was carried out before. Its answer was too long to be kept "
            "and cannot be repeated: retrieve what it made instead."
        )
        self.key = key


class RequestTooLarge(RequestError):
    """The body is larger than the server takes."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The request body is too large: at most {limit_bytes} bytes are accepted.")
        self.limit_bytes = limit_bytes


class HeadTooLarge(RequestError):
    """The URL and the header fields of a request, or the fields after its body, are larger than the server takes."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The request's URL and headers are too large: at most {limit_bytes} bytes are accepted.")
        self.limit_bytes = limit_bytes


class NotHTTP(RequestError):
    """What came cannot be read as a request."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The request is not valid HTTP/1.1: {reason}.")
        self.reason = reason


class OriginForbidden(RequestError):
    """A web page of somebody else's sends what its visitor's browser does not ask about first."""

    def __init__(self, origin: str) -> None:
        super().__init__(
            f"Requests of web pages from '{origin}' are not allowed. To allow them, add that origin to "
            "server.cors.allow_origins in run.yaml."
        )
        self.origin = origin


class HostForbidden(RequestError):
    """The server is for its own machine, and is called by a name that is not one of the machine's own."""

    def __init__(self, host: str, known: Sequence[str]) -> None:
        super().__init__(
            f"This server listens on its own machine only and does not answer to the name '{host}'. "
            f"The Host header must be one of {', '.join(known)}."
        )
        self.host, self.known = host, tuple(known)


class StreamStalled(RequestError):
    """The caller has stopped to read its stream; the turn goes on without it."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"Nothing of the stream was read for {seconds:g} seconds: the rest of it was dropped.")
        self.seconds = seconds


class TooManyMessages(RequestError):
    """So many messages of a connection wait for their turn that no further one is taken."""

    def __init__(self) -> None:
        super().__init__("Too many messages of this connection wait for their turn. Wait until a response has ended.")


class TooManyLanes(RequestError):
    """A connection has used so many distinct stream ids that no further one is taken."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"This WebSocket connection has reached its maximum number of distinct stream IDs ({limit}). "
            "Reuse an existing stream_id or open a new WebSocket connection."
        )
        self.limit = limit


class ConnectionExpired(RequestError):
    """A connection has lasted as long as one may."""

    def __init__(self, seconds: float) -> None:
        lasted = f"{seconds / 60:g} minutes" if seconds >= 60 else f"{seconds:g} seconds"
        super().__init__(
            f"Responses websocket connection limit reached ({lasted}). Create a new websocket connection to continue."
        )
        self.seconds = seconds


class UpstreamError(StackError):
    """A model server failed us.

    Args:
        provider_id: Whose model server it was.
        message: What happened, fit for the caller: no addresses, no credentials.
    """

    def __init__(self, provider_id: str, message: str) -> None:
        super().__init__(message)
        self.provider_id, self.message = provider_id, message


class UpstreamRejected(UpstreamError):
    """The model server calls the request wrong; ``code`` and ``param`` are its own words, where it gave any."""

    def __init__(self, provider_id: str, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(provider_id, message)
        self.code, self.param = code, param


class UpstreamDenied(UpstreamError):
    """The model server refuses the credentials that this server is configured with."""


class UpstreamModelNotFound(UpstreamError):
    """The model server does not know the model that it is said to serve."""


class UpstreamRateLimited(UpstreamError):
    """The model server asks us to slow down.

    Args:
        retry_after: Its own ``Retry-After`` header, in seconds or as a date, passed on as it came.
        code: ``rate_limit_exceeded`` or ``insufficient_quota``.
    """

    def __init__(
        self, provider_id: str, message: str, *, retry_after: str | None, code: str = "rate_limit_exceeded"
    ) -> None:
        super().__init__(provider_id, message)
        self.retry_after, self.code = retry_after, code


class UpstreamFailed(UpstreamError):
    """The model server answered with a 5xx status."""


class UpstreamUnreachable(UpstreamError):
    """No connection to the model server could be made."""


class UpstreamTimedOut(UpstreamError):
    """The model server did not answer in the configured time."""


class UpstreamDisconnected(UpstreamError):
    """The model server's connection ended in the middle of its answer."""


class UpstreamGarbled(UpstreamError):
    """The model server's answer is not of the protocol."""


class RecordingMissing(UpstreamError):
    """A replay has no recording of what is asked.

    Args:
        operation: What is asked, such as ``chat_completion``.
        file: Where the recording would be.
        difference: A unified diff from the nearest recording to what is asked; empty where there is none.
    """

    def __init__(self, provider_id: str, operation: str, file: str, difference: str = "") -> None:
        found = f"The nearest differs so:\n{difference}" if difference else "Nothing like it is recorded either."
        super().__init__(provider_id, f"This {operation} is not recorded: there is no {file}. {found}")
        self.operation, self.file, self.difference = operation, file, difference


class RecordingUnreadable(UpstreamError):
    """The file of a recording cannot be read, or holds something else."""

    def __init__(self, provider_id: str, file: str, reason: str) -> None:
        super().__init__(provider_id, f"The recording {file} cannot be used: {reason}")
        self.file, self.reason = file, reason


class ToolServerForbidden(RequestError):
    """The policy of run.yaml denies the address that a request gives for a tool server."""

    def __init__(self, label: str, reason: str) -> None:
        super().__init__(f"The address of tool server '{label}' is not allowed: {reason}.")
        self.label, self.reason = label, reason


class ToolFailed(StackError):
    """A tool server failed us.

    Args:
        label: Its name in the request or in run.yaml.
        message: What happened, fit for the model and the caller: no credentials.
        code: The protocol's error code, where it gave one (JSON-RPC).
    """

    def __init__(self, label: str, message: str, *, code: int | None = None) -> None:
        super().__init__(f"Tool server '{label}': {message}")
        self.label, self.message, self.code = label, message, code


class SearchFailed(StackError):
    """A search service failed us.

    Args:
        provider_id: Its provider's name in run.yaml.
        reason: What happened, fit for the model and the caller: no credentials, and no address.
    """

    def __init__(self, provider_id: str, reason: str) -> None:
        super().__init__(f"The search failed: {reason}.")
        self.provider_id, self.reason = provider_id, reason


class TurnLost(StackError):
    """A turn's lease ran out, or its response was deleted, before the turn could be committed: nothing was stored."""

    def __init__(self, response_id: str) -> None:
        super().__init__(f"The turn of response '{response_id}' was lost: its lease ran out before it could be stored.")
        self.response_id = response_id


class IdempotencyKeyLost(StackError):
    """An idempotency key's lease ran out, and somebody else took it, before its request had its effect: it has none."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"The request with the idempotency key '{key}' was taken over by another process. Please retry."
        )
        self.key = key


class Overloaded(StackError):
    """A bounded queue is full; nothing was stored."""

    def __init__(self, what: str) -> None:
        super().__init__(f"The server is overloaded: {what}. Please retry.")


class QueueFull(Overloaded):
    """So many background responses wait that no further one is taken; nothing was stored.

    Args:
        limit: How many may wait.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} background responses are waiting, which is the limit")
        self.limit = limit


class NotReady(StackError):
    """The server lives, but cannot do its work now.

    Args:
        reason: The end of a sentence, such as ``it is shutting down``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"The server is not ready: {reason}.")
        self.reason = reason


class ShuttingDown(StackError):
    """The server takes no new work."""

    def __init__(self) -> None:
        super().__init__("The server is shutting down. Please retry.")


@dataclass(frozen=True)
class ConfigProblem:
    """One thing wrong in a configuration: where (``providers.inference[0].config.base_url``) and what."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ConfigError(StackError):
    """The configuration is wrong; ``problems`` lists everything found, ``source`` names the file."""

    def __init__(self, source: str, problems: Sequence[ConfigProblem]) -> None:
        self.source, self.problems = source, tuple(problems)
        super().__init__("\n".join(f"{source}: {problem}" for problem in self.problems))


class EnvVarError(ConfigError):
    """A ``${env.NAME}`` without default names a variable that is not set or empty."""

    def __init__(self, source: str, path: str, name: str) -> None:
        self.name, self.path = name, path
        hint = (
            f"environment variable '{name}' is not set or empty; set it, "
            f"or give a default in the file: ${{env.{name}:=default}}"
        )
        super().__init__(source, [ConfigProblem(path, hint)])


class StorageError(StackError):
    """The database cannot serve."""


class DatabaseTooNew(StorageError):
    """The database was written by a newer version of this software."""

    def __init__(self, database: str, found: str, known: str) -> None:
        super().__init__(
            f"The database {database} has schema revision {found}, newer than {known}, the newest that this version "
            "knows. Install the newer version again, or restore a backup taken before the upgrade."
        )
        self.found, self.known = found, known


class StorageUnavailable(StorageError):
    """The database could not be opened, read or written; what was asked for did not happen."""


class OutcomeUnknown(StorageError):
    """The connection to the database broke while a transaction was being committed: it happened, or it did not."""

    def __init__(self) -> None:
        super().__init__(
            "The connection to the database broke while this was being stored: it may have been stored or not. Look "
            "before you send it again, or send requests with an Idempotency-Key, which may be repeated at any time."
        )
