"""A certificate authority that lives as long as the tests, and one server's certificate by it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFE = dt.timedelta(days=2)


class Authority:
    """What clients are told to trust is the file `ca`; servers show `certificate` with `key`."""

    def __init__(self, folder: Path, addresses: Sequence[str], names: Sequence[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.ca = folder / "ca.pem"
        self.certificate = folder / "server.pem"
        self.key = folder / "server.key"
        ours = ec.generate_private_key(ec.SECP256R1())
        theirs = ec.generate_private_key(ec.SECP256R1())
        root = (
            _certificate("aosd's test authority", "aosd's test authority", ours.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(ours.public_key()), False)
            .sign(ours, hashes.SHA256())
        )
        server = (
            _certificate("aosd", "aosd's test authority", theirs.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(theirs.public_key()), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(ours.public_key()), False
            )
            .add_extension(
                x509.SubjectAlternativeName(
                    [
                        *(x509.IPAddress(ip_address(each)) for each in addresses),
                        *(x509.DNSName(each) for each in names),
                    ]
                ),
                critical=False,
            )
            .sign(ours, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        self.ca.write_bytes(root.public_bytes(pem))
        self.certificate.write_bytes(server.public_bytes(pem))
        self.key.touch(mode=0o600)
        self.key.write_bytes(
            theirs.private_bytes(
                pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )


def _certificate(
    subject: str, issuer: str, public: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _LIFE)
        .not_valid_after(now + _LIFE)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
