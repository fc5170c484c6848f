"""Applications that a rule can name: what their flows look like, maintained here as data.

A flow belongs to an application when one of its signatures fits. Ports are those registered with IANA or that the
makers publish; domains are the services' own, as their documentation for firewalls lists them. What shares its
domains with everything else of its maker (a search engine's, a content network's) is left out: better not to match
than to match what was not meant.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from hagw.model.flow import TCP, UDP

Application = Literal[
    "video", "music", "gaming", "game-downloads", "voip", "conferencing", "messaging", "vpn", "remote", "mail",
    "dns", "time", "bulk", "updates", "printing", "quic", "web",
]  # fmt: skip
Ports = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """One look of an application's flows; all that is given must fit, like a traffic descriptor."""

    protocols: tuple[int, ...] = ()
    ports: Ports = ()
    domains: tuple[str, ...] = ()


def _tcp(*ports: int | tuple[int, int]) -> Signature:
    return Signature((TCP,), _ranges(ports))


def _udp(*ports: int | tuple[int, int]) -> Signature:
    return Signature((UDP,), _ranges(ports))


def _both(*ports: int | tuple[int, int]) -> Signature:
    return Signature((TCP, UDP), _ranges(ports))


def _named(*domains: str) -> Signature:
    """Match these domains and everything below them."""
    return Signature(domains=tuple(pattern for domain in domains for pattern in (domain, f"*.{domain}")))


def _ranges(ports: tuple[int | tuple[int, int], ...]) -> Ports:
    return tuple((port, port) if isinstance(port, int) else port for port in ports)


APPLICATIONS: Final[dict[Application, tuple[Signature, ...]]] = {
    "video": (
        _named(
            "youtube.com", "youtu.be", "youtube-nocookie.com", "googlevideo.com", "ytimg.com", "netflix.com",
            "nflxvideo.net", "primevideo.com", "aiv-cdn.net", "aiv-delivery.net", "disneyplus.com",
            "disney-plus.net", "dssott.com", "bamgrid.com", "hulu.com", "hulustream.com", "max.com",
            "hbomaxcdn.com", "twitch.tv", "ttvnw.net", "vimeo.com", "vimeocdn.com", "dailymotion.com",
            "dmcdn.net", "tiktokv.com", "tiktokcdn.com", "joyn.de", "zattoo.com", "dazn.com", "daznedge.net",
            "paramountplus.com", "plutotv.net", "arte.tv", "ardmediathek.de", "zdf.de", "bbci.co.uk",
            "iplayer.bbc.co.uk",
        ),
        _both(554, 1935, 8554),
    ),
    "music": (
        _named(
            "spotify.com", "scdn.co", "spotifycdn.com", "deezer.com", "dzcdn.net", "tidal.com",
            "soundcloud.com", "sndcdn.com", "music.apple.com", "aodp-ssl.itunes.apple.com", "pandora.com",
            "tunein.com",
        ),
    ),
    "gaming": (
        _both((27015, 27059)), _udp(3074, 3478, 3479, 3480, (5000, 5500), (9295, 9304)), _tcp(3074, 25565),
        _udp(19132, 19133, 25565),
        _named(
            "steampowered.com", "steamserver.net", "battle.net", "blizzard.com", "epicgames.com",
            "epicgames.dev", "riotgames.com", "leagueoflegends.com", "xboxlive.com", "playstation.net",
            "playstation.com", "nintendo.net", "roblox.com", "rbxcdn.com", "minecraftservices.com", "ea.com",
            "ubisoft.com", "ubi.com",
        ),
    ),
    "game-downloads": (
        _named(
            "steamcontent.com", "steamcdn-a.akamaihd.net", "download.epicgames.com",
            "epicgames-download1.akamaized.net", "blzddist1-a.akamaihd.net", "gs2.ww.prod.dl.playstation.net",
            "assets1.xboxlive.com", "assets2.xboxlive.com",
        ),
    ),
    "voip": (
        _both(5060, 5061), _udp((16384, 16482), 3478, 3479, (19302, 19309)), _tcp(1720, 3478, 5349), _udp(5349),
        Signature((UDP,), ((7078, 7109),)),
        _named("sip.telekom.de", "tel.t-online.de", "sipgate.de", "sip.easybell.de", "voip.ms", "pstn.twilio.com"),
    ),
    "conferencing": (
        _udp((3478, 3481), (8801, 8810), 10000, (19302, 19309), (50000, 50059)), _tcp((8801, 8802)),
        _named(
            "zoom.us", "teams.microsoft.com", "teams.live.com", "skype.com", "webex.com", "wbx2.com",
            "ciscospark.com", "meet.google.com", "gotomeeting.com", "goto.com", "bluejeans.com", "jitsi.net",
            "meet.jit.si", "whereby.com", "discord.media", "facetime.apple.com",
        ),
    ),
    "messaging": (
        _tcp(5222, 5223, 5228, 5229, 5230, 6667, 6697),
        _named(
            "whatsapp.net", "whatsapp.com", "signal.org", "telegram.org", "t.me", "threema.ch", "slack.com",
            "discord.com", "discord.gg", "matrix.org", "push.apple.com",
        ),
    ),
    "vpn": (
        Signature((47, 50, 51)), _udp(500, 1194, 1701, 4500, 41641, 51820, 51821), _tcp(1194, 1723),
        _named("tailscale.com", "tailscale.io", "nordvpn.com", "protonvpn.ch", "mullvad.net"),
    ),
    "remote": (_tcp(22, 3389, (5900, 5903)), _udp(3389, (60000, 61000)), _named("anydesk.com", "teamviewer.com")),
    "mail": (_tcp(25, 110, 143, 465, 587, 993, 995, 4190),),
    "dns": (
        _both(53), _tcp(853), _udp(853),
        _named("dns.google", "cloudflare-dns.com", "dns.quad9.net", "dns.nextdns.io"),
    ),
    "time": (_udp(123), _tcp(4460)),
    "bulk": (
        _tcp(20, 21, 119, 563, 873, 990, (6881, 6999), 9418, 51413), _udp((6881, 6999), 51413),
        _named(
            "backblaze.com", "backblazeb2.com", "dropbox.com", "dropboxusercontent.com", "icloud-content.com",
            "onedrive.live.com", "storage.live.com", "drive.usercontent.google.com", "mega.nz", "mega.co.nz",
            "wetransfer.com", "wetransfer.net", "crashplan.com", "idrive.com", "photos.usercontent.google.com",
        ),
    ),
    "updates": (
        _named(
            "windowsupdate.com", "update.microsoft.com", "delivery.mp.microsoft.com",
            "dl.delivery.mp.microsoft.com", "swcdn.apple.com", "swdist.apple.com", "updates.cdn-apple.com",
            "appldnld.apple.com", "mesu.apple.com", "deb.debian.org", "security.debian.org",
            "archive.ubuntu.com", "security.ubuntu.com", "dl.fedoraproject.org", "download.opensuse.org",
            "snapcraftcontent.com", "dl.flathub.org", "registry.npmjs.org", "pypi.org",
            "files.pythonhosted.org", "docker.io", "production.cloudflare.docker.com",
        ),
    ),
    "printing": (_tcp(515, 631, 9100),),
    "quic": (_udp(443),),
    "web": (_tcp(80, 443, 8080), _udp(443)),
}  # fmt: skip


def signatures_of(name: str) -> tuple[Signature, ...]:
    """Return an application's signatures; none for a name that this version does not know."""
    return _BY_NAME.get(name, ())


_BY_NAME: Final[Mapping[str, tuple[Signature, ...]]] = {str(name): found for name, found in APPLICATIONS.items()}
