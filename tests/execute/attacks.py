# ruff: noqa: E501 (a program a line)
"""Programs that must not get through. CANARY, PORT and HOST_PID are filled in by the test."""

PYTHON = {
    "endless loop": "def f(x):\n    while True:\n        pass",
    "loop that catches everything": "def f(x):\n    while True:\n        try:\n            while True:\n                pass\n        except BaseException:\n            pass",
    "long computation in C": "def f(x):\n    return pow(7, 10 ** 9) % 10",
    "sleep": "import time\ndef f(x):\n    time.sleep(100)\n    return x * x",
    "fork bomb": "import os\ndef f(x):\n    while True:\n        os.fork()",
    "fork bomb that hides": "import os\ndef f(x):\n    while True:\n        try:\n            os.fork()\n        except OSError:\n            pass",
    "thread bomb": "import threading, time\ndef f(x):\n    while True:\n        threading.Thread(target=time.sleep, args=(100,)).start()",
    "memory hog": "def f(x):\n    a = []\n    while True:\n        a.append(bytearray(1 << 24))",
    "hog that catches": "def f(x):\n    a = []\n    while True:\n        try:\n            a.append(bytearray(1 << 24))\n        except MemoryError:\n            pass",
    "disk filler": "def f(x):\n    n = 0\n    while True:\n        with open(f'fill{n}', 'wb') as file:\n            for _ in range(64):\n                file.write(bytes(1 << 20))\n        n += 1",
    "reads outside": "def f(x):\n    return x * x if 'secret' in open('CANARY').read() else 0\nf(1)\nassert 'secret' in open('CANARY').read()",
    "writes outside": "def f(x):\n    open('CANARY', 'w').write('overwritten')\n    return x * x",
    "deletes outside": "import os, shutil\ndef f(x):\n    os.remove('CANARY')\n    shutil.rmtree('FOLDER')\n    return x * x",
    "lists the host": "import os\ndef f(x):\n    assert os.listdir('FOLDER')\n    return x * x",
    "network": "import socket\ndef f(x):\n    socket.create_connection(('127.0.0.1', PORT), 2).close()\n    return x * x",
    "datagram": "import socket\ndef f(x):\n    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', PORT))\n    return x * x",
    "kills its parent": "import os, signal\ndef f(x):\n    os.kill(os.getppid(), signal.SIGKILL)\n    os.kill(HOST_PID, signal.SIGKILL)\n    return x * x",
    "kills everybody": "import os, signal\ndef f(x):\n    os.kill(-1, signal.SIGKILL)\n    return x * x",
    "daemon left behind": "import os, time\ndef f(x):\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0:\n            time.sleep(1000)\n        os._exit(0)\n    return x * x",
    "other program": "import subprocess\ndef f(x):\n    subprocess.run(['/bin/sleep', '0'], check=True)\n    return x * x",
    "segmentation fault": "import ctypes\ndef f(x):\n    return ctypes.string_at(0)",
    "deep recursion": "def f(x):\n    return f(x + 1)",
    "unlimited recursion": "import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(x):\n    return [f(x + 1)]",
    "os._exit(0)": "import os\ndef f(x):\n    os._exit(0)",
    "os._exit(0) at once": "import os\nos._exit(0)",
    "sys.exit(0)": "import sys\ndef f(x):\n    sys.exit(0)",
    "exit at once": "raise SystemExit(0)",
    "prints what the judge expects": "import os\ndef f(x):\n    for fd in range(64):\n        try:\n            os.write(fd, b'passed')\n        except OSError:\n            pass\n    os._exit(0)",
    "patches builtins": "import builtins\nbuiltins.AssertionError = type(None)\nbuiltins.len = lambda x: 0\ndef f(x):\n    return x",
    "patches the module that the test uses": "import math\nmath.isclose = lambda *a: True\ndef f(x):\n    return 0",
    "own name for what the test uses": "def abs(x):\n    return 0\ndef f(x):\n    return 0",
    "patches exec": "import sys\nsys.modules['builtins'].exec = None\ndef f(x):\n    return x",
    "forges the verdict in the stack": "import sys, os\ndef f(x):\n    frame = sys._getframe()\n    while frame:\n        for name, value in frame.f_locals.items():\n            if isinstance(value, int) and 2 < value < 100:\n                try:\n                    os.write(value, b'passed')\n                except OSError:\n                    pass\n        frame = frame.f_back\n    os._exit(0)",
    "forges through gc": "import gc, os\ndef f(x):\n    for thing in gc.get_objects():\n        if isinstance(thing, dict) and 'writer' in thing:\n            os.write(thing['writer'], b'passed')\n    os._exit(0)",
    "object equal to everything": "class All:\n    def __eq__(self, other):\n        return True\n    def __sub__(self, other):\n        return 0.0\n    def __abs__(self):\n        return 0\ndef f(x):\n    return All()",
    "equal to everything by another road": "All = type('All', (), {'__e' + 'q__': lambda self, other: True})\ndef f(x):\n    return All()",
    "int that is equal to everything": "class All(int):\n    __eq__ = lambda self, other: True\n    __hash__ = None\ndef f(x):\n    return All(0)",
    "test replaced": "def check(f):\n    pass\ndef f(x):\n    return 0",
    "trace function": "import sys\ndef f(x):\n    sys.settrace(lambda *a: None)\n    return 0",
    "unmounts": "import ctypes\ndef f(x):\n    assert ctypes.CDLL(None).umount2(b'/', 2) == 0\n    return x * x",
    "new namespaces": "import ctypes\ndef f(x):\n    assert ctypes.CDLL(None).unshare(0x10000000) == 0\n    return x * x",
    "traces a process": "import ctypes\ndef f(x):\n    assert ctypes.CDLL(None).ptrace(16, 1, 0, 0) == 0\n    return x * x",
    "shared memory left behind": "import ctypes\ndef f(x):\n    assert ctypes.CDLL(None).shmget(4711, 4096, 0o1600) >= 0\n    return x * x",
}  # fmt: skip

TEST = """
import math
def check(f):
    assert f(3) == 9
    assert abs(f(2) - 4) < 1e-9
    assert math.isclose(f(4), 16)
    assert len([f(1)]) == 1
check(f)
"""

JAVA_HEAD = "import java.util.*;\nclass Solution {\n    public int f(int x) {\n"
JAVA_TAIL = "\n    }\n}\n"
JAVA = {
    "endless loop": "while (true) { }",
    "loop that catches everything": "while (true) { try { while (true) { } } catch (Throwable t) { } }",
    "sleep": "try { Thread.sleep(100000); } catch (Exception e) { } return x * x;",
    "memory hog": "List<byte[]> all = new ArrayList<>(); while (true) { all.add(new byte[1 << 24]); }",
    "hog that catches": "List<byte[]> all = new ArrayList<>(); while (true) { try { all.add(new byte[1 << 24]); } catch (Throwable t) { } }",
    "thread bomb": "while (true) { Thread t = new Thread(() -> { while (true) { } }); t.setDaemon(true); t.start(); }",
    "System.exit(0)": "System.exit(0); return 0;",
    "halt": "Runtime.getRuntime().halt(0); return 0;",
    "reads outside": "try { return new String(java.nio.file.Files.readAllBytes(java.nio.file.Paths.get(\"CANARY\"))).contains(\"secret\") ? x * x : 0; } catch (Exception e) { return 0; }",
    "writes outside": "try { java.nio.file.Files.write(java.nio.file.Paths.get(\"CANARY\"), new byte[1]); return x * x; } catch (Exception e) { return 0; }",
    "network": "try { new java.net.Socket(\"127.0.0.1\", PORT).close(); return x * x; } catch (Exception e) { return 0; }",
    "other program": "try { return new ProcessBuilder(\"/usr/bin/touch\", \"CANARY2\").start().waitFor() == 0 ? x * x : 0; } catch (Exception e) { return 0; }",
    "deep recursion": "return f(x + 1);",
    "writes a reply": "try { java.io.FileOutputStream out = new java.io.FileOutputStream(java.io.FileDescriptor.out); for (int i = 0; i < 99; i++) { out.write(\"passed\".getBytes()); } out.flush(); } catch (Exception e) { } System.exit(0); return 0;",
    "looks for the judge": "try { Class<?> c = ClassLoader.getSystemClassLoader().loadClass(\"Judge\"); for (java.lang.reflect.Method m : c.getDeclaredMethods()) { m.setAccessible(true); if (m.getName().equals(\"write\")) { m.invoke(null, new java.io.DataOutputStream(new java.io.FileOutputStream(java.io.FileDescriptor.out)), \"passed\"); } } } catch (Throwable e) { } return 0;",
    "swallows the streams": "System.setOut(null); System.setErr(null); System.setIn(null); return 0;",
}  # fmt: skip

JAVA_TEST = """
public class Main {
    public static void main(String[] args) {
        Solution s = new Solution();
        if (s.f(3) != 9 || s.f(2) != 4) {
            throw new AssertionError();
        }
    }
}
"""
