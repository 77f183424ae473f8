"""A real Dovecot POP3 server in a directory of its own; no system file is touched.

Rules of this room:
- Mail belongs to `nobody`, since Dovecot never opens mail as root: so it needs root, and a directory that nobody can
  reach (pytest's own temporary directories are closed to it).
- Written for Dovecot 2.3; 2.4 speaks another configuration language and is refused by name.
"""

from __future__ import annotations

import itertools
import os
import poplib
import pwd
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import trustme

from servers.process import Server, ServerUnavailable, free_ports, wait_until

_CONFIG = """\
base_dir = {d}/run
state_dir = {d}/state
log_path = {d}/dovecot-mail.log
protocols = pop3
listen = 127.0.0.1
default_internal_user = nobody
default_internal_group = nogroup
default_login_user = nobody
first_valid_uid = 1
disable_plaintext_auth = no
auth_mechanisms = plain login {mechanisms}
auth_failure_delay = 0
ssl = yes
ssl_cert = <{d}/cert.pem
ssl_key = <{d}/key.pem
mail_location = maildir:~/Maildir
pop3_uidl_format = %08Xu%08Xv
passdb {{
  driver = passwd-file
  args = scheme=plain {d}/users
}}
{passdb}
userdb {{
  driver = passwd-file
  args = {d}/users
  default_fields = uid=nobody gid=nogroup
}}
service pop3-login {{
  chroot =
  service_count = 0
  process_min_avail = 1
  inet_listener pop3 {{
    port = {port}
  }}
  inet_listener pop3s {{
    port = {tls_port}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
  # no growing delay for tests that log in wrongly
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
{settings}
"""


_BY_TOKEN = """\
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {d}/oauth2.conf.ext
}}
"""

_INTROSPECTION = """\
introspection_mode = post
introspection_url = {url}
username_attribute = username
active_attribute = active
active_value = true
"""

_WITNESS = "harness-witness"


class DovecotServer(Server):
    """POP3 with STLS on `port` and with implicit TLS on `tls_port`, for the name localhost and 127.0.0.1.

    Args:
        directory: of its own, reachable by nobody, its path short (Unix sockets lie in it).
        users: name to password; `set_users` changes them while it runs.
        settings: further lines of dovecot.conf, e.g. `pop3_lock_session = yes`.
        introspection_url: where access tokens are looked up (RFC 7662); with it users may log in by XOAUTH2 and
            OAUTHBEARER, too.
    """

    name = "dovecot"

    def __init__(
        self, directory: Path, users: Mapping[str, str], *, settings: str = "", introspection_url: str | None = None
    ) -> None:
        self._dovecot = _find_dovecot()
        super().__init__(directory.resolve())
        self.directory.chmod(0o755)
        self.host = "localhost"
        self.port, self.tls_port = free_ports(2)
        self.ca_file = self.directory / "ca.pem"
        self._nobody = pwd.getpwnam("nobody")
        self._serial = itertools.count(1)
        self._users: dict[str, str] = {}
        self._users_stamp = 0
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca_file))
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        certificate.private_key_pem.write_to_path(str(self.directory / "key.pem"))
        for index, pem in enumerate(certificate.cert_chain_pems):
            pem.write_to_path(str(self.directory / "cert.pem"), append=index > 0)
        (self.directory / "dovecot.conf").write_text(
            _CONFIG.format(
                d=self.directory,
                port=self.port,
                tls_port=self.tls_port,
                settings=settings,
                mechanisms="xoauth2 oauthbearer" if introspection_url else "",
                passdb=_BY_TOKEN.format(d=self.directory) if introspection_url else "",
            )
        )
        if introspection_url:
            introspection = _INTROSPECTION.format(url=introspection_url)
            (self.directory / "oauth2.conf.ext").write_text(introspection)
        (self.directory / "home").mkdir(exist_ok=True)
        self.set_users(users)
        self._refuse_closed_directory()

    @property
    def users(self) -> dict[str, str]:
        """Name to password, as last set."""
        return dict(self._users)

    def set_users(self, users: Mapping[str, str]) -> None:
        """These are the users from now on; mail of earlier ones stays on disk. Returns once Dovecot knows them."""
        for user in users:
            if not re.fullmatch(r"[A-Za-z0-9@._-]+", user):
                raise ValueError(f"not a user name for a passwd-file: {user!r}")
        for user in {*users, _WITNESS} - self._users.keys():
            self._make_home(user)
        self._users = dict(users)
        witness = {_WITNESS: f"version-{next(self._serial)}"}
        uid, gid, homes = self._nobody.pw_uid, self._nobody.pw_gid, self.directory / "home"
        lines = [
            f"{user}:{password}:{uid}:{gid}::{homes}/{user}::\n" for user, password in {**users, **witness}.items()
        ]
        fresh = self.directory / "users.new"
        fresh.write_text("".join(lines))
        # Dovecot tells versions of this file by whole-second time and size, so no two may share both.
        self._users_stamp = max(int(time.time()), self._users_stamp + 1)
        os.utime(fresh, (self._users_stamp, self._users_stamp))
        fresh.rename(self.directory / "users")
        if self.running:  # and it looks at most once a second
            wait_until(
                lambda: self._accepts(_WITNESS, witness[_WITNESS]),
                alive=lambda: self.running,
                timeout_s=10,
                what="the new list of users",
            )

    def deliver(self, user: str, raw: bytes) -> Path:
        """Put a message, as it is, into the maildrop; its path there until Dovecot moves it on."""
        maildir = self._maildir(user)
        name = f"{time.time_ns()}.M{next(self._serial)}P{os.getpid()}.localhost"
        fresh = maildir / "tmp" / name
        fresh.write_bytes(raw)
        os.chown(fresh, self._nobody.pw_uid, self._nobody.pw_gid)
        return fresh.rename(maildir / "new" / name)

    def messages(self, user: str) -> int:
        """How many messages lie in the maildrop, seen from the disk."""
        return sum(len(list(self._maildir(user).joinpath(box).iterdir())) for box in ("new", "cur"))

    def names(self, user: str) -> set[str]:
        """The messages that lie in the maildrop, by the file names that `deliver` gave them."""
        # "new" first: what is moved to "cur" meanwhile is seen there
        boxes = [self._maildir(user) / box for box in ("new", "cur")]
        return {path.name.partition(":")[0] for box in boxes for path in box.iterdir()}

    def uidls(self, user: str) -> list[bytes]:
        """The UIDLs in the order of a listing, read in a session of its own."""
        session = poplib.POP3("127.0.0.1", self.port, timeout=10)
        try:
            session.user(user)
            session.pass_(self._users[user])
            listing = session.uidl()
            if not isinstance(listing, tuple):
                raise TypeError("UIDL without an argument answers with a listing")
            return [line.split(b" ", 1)[1] for line in listing[1]]
        finally:
            session.quit()

    def renumber(self, user: str) -> None:
        """Give every message a new UIDL, as a migration does. No session may be open."""
        for index in self._maildir(user).glob("dovecot*"):
            if not index.name.startswith("dovecot-uidvalidity"):  # it says what the last one was
                index.unlink()

    def command(self) -> Sequence[str]:
        return [self._dovecot, "-F", "-c", str(self.directory / "dovecot.conf")]

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2.0) as connection:
                return connection.recv(64).startswith(b"+OK")
        except OSError:
            return False

    def _accepts(self, user: str, password: str) -> bool:
        session = poplib.POP3("127.0.0.1", self.port, timeout=10)
        try:
            session.user(user)
            session.pass_(password)
        except poplib.error_proto:
            return False
        finally:
            session.quit()
        return True

    def _make_home(self, user: str) -> None:
        maildir = self._maildir(user)
        for box in ("new", "cur", "tmp"):
            (maildir / box).mkdir(parents=True, exist_ok=True)
        for path in (maildir.parent, maildir, *maildir.iterdir()):
            os.chown(path, self._nobody.pw_uid, self._nobody.pw_gid)

    def _maildir(self, user: str) -> Path:
        return self.directory / "home" / user / "Maildir"

    def _refuse_closed_directory(self) -> None:
        for path in self.directory.parents:
            if not path.stat().st_mode & 0o001:
                raise ServerUnavailable(f"{path} is closed to the user nobody: give Dovecot a directory outside of it")


def _find_dovecot() -> str:
    found = shutil.which("dovecot", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        raise ServerUnavailable("Dovecot is missing: apt install dovecot-pop3d")
    if os.geteuid() != 0:
        raise ServerUnavailable("Dovecot needs root to hand mail to the user nobody: run the tests as root")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    if not version.startswith("2.3."):
        raise ServerUnavailable(f"Dovecot 2.3 is wanted, this is {version.split()[0]}")
    libexec = Path(found).parent.parent / "lib" / "dovecot"
    if not (libexec / "pop3-login").exists():
        raise ServerUnavailable("Dovecot's POP3 server is missing: apt install dovecot-pop3d")
    return found
