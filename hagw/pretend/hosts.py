"""Who uses the pretend network: LAN hosts, what they ask for, and how much of it."""

from dataclasses import dataclass
from typing import Final

HOSTS: Final = (
    ("192.168.77.10", "3c:22:fb:01:02:03"),
    ("192.168.77.11", "3c:22:fb:01:02:04"),
    ("192.168.77.20", "a4:5e:60:11:22:33"),
    ("192.168.77.21", "a4:5e:60:11:22:34"),
    ("192.168.77.35", "dc:a6:32:aa:bb:01"),
    ("192.168.77.50", "b8:27:eb:0c:0d:0e"),
    ("192.168.77.77", "f0:18:98:77:77:77"),
)


@dataclass(frozen=True, slots=True)
class Habit:
    """One kind of flow: how often (weight), what it wants in bit/s, and how long it lasts at most."""

    name: str
    weight: int
    domain: str
    server: str
    port: int
    down_bps: float
    up_bps: float
    lasts_s: float
    direct: bool = False


HABITS: Final = (
    Habit("web", 30, "www.example.org", "203.0.113.10", 443, 900_000, 60_000, 6.0),
    Habit("web", 20, "news.example.net", "203.0.113.21", 443, 700_000, 50_000, 9.0),
    Habit("images", 14, "img.cdn.example.com", "203.0.113.33", 443, 2_500_000, 60_000, 5.0),
    Habit("video", 8, "media.films.example", "203.0.113.40", 443, 6_000_000, 90_000, 90.0),
    Habit("download", 4, "deb.example.org", "203.0.113.50", 80, 22_000_000, 300_000, 40.0),
    Habit("backup", 3, "backup.example.com", "203.0.113.60", 443, 300_000, 9_000_000, 45.0),
    Habit("mail", 10, "imap.example.org", "203.0.113.70", 993, 40_000, 9_000, 60.0),
    Habit("call", 6, "meet.example.net", "203.0.113.80", 443, 1_200_000, 1_000_000, 80.0),
    Habit("shell", 5, "", "203.0.113.90", 22, 20_000, 8_000, 120.0),
    Habit("phone", 4, "sip.example.net", "203.0.113.95", 5061, 90_000, 90_000, 70.0),
)
WEIGHTS: Final = tuple(habit.weight for habit in HABITS)
