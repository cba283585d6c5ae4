"""The node itself: its DICOM side, who may call, and every limit of what a peer may take."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from pacsai.config.base import AbsolutePath, AETitle, ListeningPort, Port, Settings


class Caller(Settings):
    """A peer that may store here: its AE title, and the address it calls from.

    Where `certificate` is given, the peer must call by TLS with a certificate of this common name or DNS name. `port`
    is where it listens itself: there the node answers its requests for storage commitment, by TLS where `certificate`
    is given.
    """

    ae_title: AETitle
    address: str = Field(min_length=1)
    certificate: str | None = Field(default=None, min_length=1)
    port: Port | None = None


class CommitmentPeer(Settings):
    """A peer whose requests for storage commitment are answered, and where it listens; it need not be a caller.

    With `tls` it is called by TLS with the certificate of `node.tls`.
    """

    ae_title: AETitle
    host: str = Field(min_length=1)
    port: Port
    tls: bool = False


class Tls(Settings):
    """Who this node is in TLS, and whose certificates it believes (PEM files).

    Used by the TLS port and by archives with `tls: true`. Peers must always show a certificate of `authorities`.
    """

    certificate: AbsolutePath
    key: AbsolutePath
    authorities: AbsolutePath
    port: ListeningPort | None = None
    """The port that speaks TLS alone, beside or in place of the plain one; none where it is not given."""


class Limits(Settings):
    """What the node allows its peers to take; the defaults suit a department's modalities.

    Attributes
    ----------
    pdu_kb : int
        Largest PDU that peers are asked to send (PS3.8 D.1); a longer one ends the association.
    dataset_mb : float
        Largest data set that is taken (0xA700); its rest is read and thrown away.
    association_gb : float
        Bytes that one association may send; above them it is aborted.
    associations, associations_per_peer : int
        Associations at the same time, in all and from one address; one more is rejected as *local limit exceeded*, and
        a modality tries again.
    connections : int
        Connections that have not asked for an association yet; of more, the oldest is closed.
    request_timeout_s : float
        Time from connecting to the whole association request, a TLS handshake included.
    network_timeout_s : float
        Silence after which an association is aborted, and the longest that one PDU may take to arrive.
    sequence_depth : int
        How deep sequences may nest.
    inflated_mb : float
        What deflated data may unpack to.
    pixels_mb : float
        Rows x Columns x Frames x bytes of a series above which it is not decoded.
    free_gb : float
        Space on the data disk below which nothing more is taken (0xA700).
    """

    pdu_kb: int = Field(default=128, ge=4, le=1024)
    dataset_mb: float = Field(default=4096, gt=0)
    association_gb: float = Field(default=256, gt=0)
    associations: int = Field(default=64, ge=1)
    associations_per_peer: int = Field(default=32, ge=1)
    connections: int = Field(default=256, ge=1)
    request_timeout_s: float = Field(default=10, gt=0)
    network_timeout_s: float = Field(default=60, gt=0)
    sequence_depth: int = Field(default=64, ge=1, le=256)
    inflated_mb: float = Field(default=1024, gt=0)
    pixels_mb: float = Field(default=8192, gt=0)
    free_gb: float = Field(default=1, ge=0)


def _form_of_callers(value: object) -> str:
    return "list" if isinstance(value, list | tuple) else "any"


Callers = Annotated[
    Annotated[Literal["any"], Tag("any")] | Annotated[tuple[Caller, ...], Tag("list")],
    Discriminator(_form_of_callers),
]


class Node(Settings):
    """The DICOM side of this node and the folder it keeps everything in.

    `port` is the plain one, None for none; `receivers` is the number of processes that take images.
    `commitment_answer_hours` is how long an answer is offered to a peer that asked for storage commitment and is down.
    """

    ae_title: AETitle = "PACSAI"
    host: str = "127.0.0.1"
    port: ListeningPort | None = 11112
    data: AbsolutePath
    callers: Callers = "any"
    receivers: int = Field(default=2, ge=1, le=32)
    commitment_peers: tuple[CommitmentPeer, ...] = ()
    commitment_answer_hours: float = Field(default=72, gt=0)
    tls: Tls | None = None
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _certificates_can_be_shown(self) -> Node:
        asks = self.callers != "any" and any(caller.certificate for caller in self.callers)
        if asks and (self.tls is None or self.tls.port is None):
            raise ValueError("callers with a certificate can only call by TLS: give tls.port")
        return self
