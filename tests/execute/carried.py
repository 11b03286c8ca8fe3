# ruff: noqa: E501 (a program a line)
"""What one program does to its surroundings, and a right program that would fail if it were still so."""

CARRIED = {
    "priority": ("import os\nos.nice(10)\ndef f(x): return 0", "import os\nassert os.nice(0) == NICE"),
    "priority of everybody": (
        "import os\nfor w in (0, 1, 2):\n    for p in (0, 1, os.getppid()):\n        try: os.setpriority(w, p, 19)\n        except OSError: pass\ndef f(x): return 0",
        "import os\nassert os.getpriority(os.PRIO_PROCESS, 0) == NICE",
    ),
    "affinity": (
        "import os\nfor p in (0, 1, os.getppid()):\n    try: os.sched_setaffinity(p, [min(os.sched_getaffinity(0))])\n    except OSError: pass\ndef f(x): return 0",
        "import os\nassert len(os.sched_getaffinity(0)) == CORES",
    ),
    "scheduling": (
        "import os\nfor p in (0, 1, os.getppid()):\n    try: os.sched_setscheduler(p, os.SCHED_IDLE, os.sched_param(0))\n    except OSError: pass\ndef f(x): return 0",
        "import os\nassert os.sched_getscheduler(0) == os.SCHED_OTHER",
    ),
    "priority of input and output": (
        "import ctypes\nfor p in (0, 1): ctypes.CDLL(None).syscall(251, 1, p, 3 << 13)\ndef f(x): return 0",
        "import ctypes\nassert ctypes.CDLL(None).syscall(252, 1, 0) >> 13 != 3",
    ),
    "limits": (
        "import resource, os\nfor p in (0, 1, os.getppid()):\n    for n in range(16):\n        try: resource.prlimit(p, n, (1, 1))\n        except (OSError, ValueError): pass\ndef f(x): return 0",
        "open('/dev/null').close()",
    ),
    "descriptors": (
        "import fcntl\nfor n in range(3): fcntl.fcntl(n, fcntl.F_SETFL, 0o4000 | 0o2000)\nimport os\nos.close(0)\ndef f(x): return 0",
        "import fcntl\nassert not any(fcntl.fcntl(n, fcntl.F_GETFL) & 0o6000 for n in range(3))",
    ),
    "descriptors left open": (
        "import os\nkept = [os.open('/dev/null', os.O_RDONLY) for _ in range(20)]\ndef f(x): return 0",
        "import os\nkept = [os.open('/dev/null', os.O_RDONLY) for _ in range(40)]",
    ),
    "deep folders": (
        "import os\nfor i in range(200):\n    try:\n        os.mkdir('d'); os.chdir('d')\n    except OSError: break\ndef f(x): return 0",
        "import os\ntry: found = os.listdir('.')\nexcept OSError: found = []\nassert not WRITES or found == []",
    ),
    "deeper folders than a path can name": (
        "import os\nfor i in range(1500):\n    try:\n        os.mkdir('d' * 100); os.chdir('d' * 100)\n        open('file', 'w').close()\n    except OSError: break\ndef f(x): return 0",
        "import os\ntry: found = os.listdir('.')\nexcept OSError: found = []\nassert not WRITES or found == []",
    ),
    "mode bits": (
        "import os\ntry:\n    os.makedirs('a/b/c'); open('a/b/c/f', 'w').close()\n    os.chmod('a/b/c/f', 0); os.chmod('a/b/c', 0); os.chmod('a/b', 0); os.chmod('a', 0); os.chmod('.', 0)\nexcept OSError: pass\ndef f(x): return 0",
        "import os\nif WRITES:\n    assert os.listdir('.') == []\n    open('own', 'w').close()",
    ),
    "links": (
        "import os\ntry:\n    os.symlink('/', 'root'); os.symlink('loop', 'loop'); os.mkdir('d'); os.symlink('..', 'd/up'); os.mkfifo('pipe')\nexcept OSError: pass\ndef f(x): return 0",
        "import os\nif WRITES: assert os.listdir('.') == []",
    ),
    "a full disk": (
        "try:\n    for i in range(9999): open(str(i), 'wb').write(bytes(1 << 22))\nexcept OSError: pass\ndef f(x): return 0",
        "if WRITES: assert open('own', 'wb').write(bytes(1 << 20)) == 1 << 20",
    ),
    "no more inodes": (
        "try:\n    for i in range(9999): open(str(i), 'w').close()\nexcept OSError: pass\ndef f(x): return 0",
        "if WRITES: open('own', 'w').close()",
    ),
    "signals to process 1": (
        "import os, signal\nfor p in (1, os.getppid()):\n    for s in (2, 15, 1, 3, 10, 12, 14, 17, 18, 19, 9):\n        try: os.kill(p, s)\n        except OSError: pass\ndef f(x): return 0",
        "pass",
    ),
    "a timer": ("import signal\nsignal.setitimer(signal.ITIMER_REAL, 0.01)\nsignal.alarm(1)\ndef f(x): return 0", "import time\ntime.sleep(0.02)"),
    "ignored signals": (
        "import signal\nfor s in range(1, 32):\n    try: signal.signal(s, signal.SIG_IGN)\n    except (OSError, ValueError): pass\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))\ndef f(x): return 0",
        "import signal\nassert not signal.pthread_sigmask(signal.SIG_BLOCK, [])",
    ),
    "umask and folder": ("import os\nos.umask(0o777)\nos.chdir('/')\ndef f(x): return 0", "import os\nassert os.umask(0o022) != 0o777"),
    "random state": ("import random\nrandom.seed(12345)\ndef f(x): return 0", "import random\nassert random.random() == 0.8444218515250481"),
    "patched modules": ("import math, builtins\nmath.sqrt = builtins.len = builtins.sum = None\ndef f(x): return 0", "import math\nassert math.sqrt(4) == len('ab') == sum([1, 1])"),
    "recursion and digits": ("import sys\nsys.setrecursionlimit(30)\nsys.set_int_max_str_digits(640)\ndef f(x): return 0", "import sys\nassert sys.getrecursionlimit() == 1000\nstr(10 ** 4000)"),
    "a lock on a descriptor": ("import fcntl\nfcntl.flock(0, fcntl.LOCK_EX)\ndef f(x): return 0", "import fcntl\nfcntl.flock(0, fcntl.LOCK_EX | fcntl.LOCK_NB)"),
    "locked memory": ("import ctypes\nctypes.CDLL(None).mlockall(3)\ndef f(x): return 0", "bytearray(1 << 22)"),
    "threads": (
        "import threading, time\ndef forever():\n    while True: time.sleep(1)\nfor i in range(99):\n    try: threading.Thread(target=forever).start()\n    except RuntimeError: break\ndef f(x): return 0",
        "import threading\nassert threading.active_count() == 1\nts = [threading.Thread(target=int) for _ in range(16)]\nfor t in ts: t.start()\nfor t in ts: t.join()",
    ),
    "a socket's name": (
        "import socket\ntry:\n    s = socket.socket(socket.AF_UNIX); s.bind('\\0name'); s.listen()\nexcept OSError: pass\ndef f(x): return 0",
        "import socket\ntry:\n    s = socket.socket(socket.AF_UNIX)\nexcept OSError: s = None\nif s: s.bind('\\0name')",
    ),
    "environment": ("import os\nos.environ['HOME'] = '/x'\nos.putenv('A', 'b')\ndef f(x): return 0", "import os\nassert 'A' not in os.environ and os.environ.get('HOME') != '/x'"),
}  # fmt: skip
"""Name: a program, and statements that a right one runs before it goes on. CORES, WRITES and NICE are filled in."""
