import com.sun.tools.javac.api.JavacTaskPool;
import com.sun.tools.javac.platform.PlatformUtils;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.FileInputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TimeZone;
import javax.tools.DiagnosticCollector;
import javax.tools.Diagnostic;
import javax.tools.FileObject;
import javax.tools.ForwardingJavaFileManager;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileManager;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;

/**
 * Compiles and runs one program after the other in one warm JVM: sources and classes stay in memory, each program has
 * a class loader and a thread group of its own. That is no isolation; the JVM itself sits in the jail, and it ends
 * itself whenever a program leaves something behind or the compiler fails, to be started afresh.
 *
 * Requests on stdin: nonce, release, cpu milliseconds, wall milliseconds, source. Replies on stdout: nonce, status,
 * detail, cpu milliseconds, whether this JVM goes on. The nonce lives on this thread's stack alone, so that a program
 * that writes to stdout can't write a reply.
 */
public final class Judge {
    private static final class Source extends SimpleJavaFileObject {
        private final String text;

        Source(String text) {
            super(URI.create("string:///Main.java"), Kind.SOURCE);
            this.text = text;
        }

        @Override
        public CharSequence getCharContent(boolean ignore) {
            return text;
        }
    }

    private static final class Binary extends SimpleJavaFileObject {
        private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

        Binary(String name) {
            super(URI.create("mem:///" + name.replace('.', '/') + ".class"), Kind.CLASS);
        }

        @Override
        public OutputStream openOutputStream() {
            return bytes;
        }
    }

    /** Classes go to memory; the platform's own are those of the wanted release, opened once. */
    private static final class Memory extends ForwardingJavaFileManager<StandardJavaFileManager> {
        private Map<String, Binary> classes = new HashMap<>();
        private final JavaFileManager platform;

        Memory(StandardJavaFileManager files, JavaFileManager platform) {
            super(files);
            this.platform = platform;
        }

        private JavaFileManager at(JavaFileManager.Location place) {
            return platform != null && platform.hasLocation(place) ? platform : fileManager;
        }

        @Override
        public JavaFileObject getJavaFileForOutput(
                JavaFileManager.Location place, String name, JavaFileObject.Kind kind, FileObject sibling) {
            Binary binary = new Binary(name);
            classes.put(name, binary);
            return binary;
        }

        @Override
        public Iterable<JavaFileObject> list(
                JavaFileManager.Location place, String pack, Set<JavaFileObject.Kind> kinds, boolean deep)
                throws IOException {
            return at(place).list(place, pack, kinds, deep);
        }

        @Override
        public String inferBinaryName(JavaFileManager.Location place, JavaFileObject file) {
            return at(place).inferBinaryName(place, file);
        }

        @Override
        public boolean hasLocation(JavaFileManager.Location place) {
            return at(place).hasLocation(place);
        }

        @Override
        public JavaFileObject getJavaFileForInput(
                JavaFileManager.Location place, String name, JavaFileObject.Kind kind) throws IOException {
            return at(place).getJavaFileForInput(place, name, kind);
        }

        @Override
        public JavaFileManager.Location getLocationForModule(JavaFileManager.Location place, String name)
                throws IOException {
            return at(place).getLocationForModule(place, name);
        }

        @Override
        public JavaFileManager.Location getLocationForModule(JavaFileManager.Location place, JavaFileObject file)
                throws IOException {
            return at(place).getLocationForModule(place, file);
        }

        @Override
        public String inferModuleName(JavaFileManager.Location place) throws IOException {
            return at(place).inferModuleName(place);
        }

        @Override
        public Iterable<Set<JavaFileManager.Location>> listLocationsForModules(JavaFileManager.Location place)
                throws IOException {
            return at(place).listLocationsForModules(place);
        }

        @Override
        public boolean contains(JavaFileManager.Location place, FileObject file) throws IOException {
            return at(place).contains(place, file);
        }

        @Override
        public void close() {
            // Kept open: the next program is compiled with the same one.
        }
    }

    private static final class Loader extends ClassLoader {
        private final Map<String, Binary> classes;

        Loader(Map<String, Binary> classes) {
            super(ClassLoader.getPlatformClassLoader());
            this.classes = classes;
        }

        @Override
        protected Class<?> findClass(String name) throws ClassNotFoundException {
            Binary binary = classes.get(name);
            if (binary == null) {
                throw new ClassNotFoundException(name);
            }
            byte[] bytes = binary.bytes.toByteArray();
            return defineClass(name, bytes, 0, bytes.length);
        }
    }

    private static final class Outcome {
        volatile String status = "failed";
        volatile String detail = "ended without a verdict";
    }

    private final JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    private final Map<String, Memory> managers = new HashMap<>();
    private final JavacTaskPool pool = new JavacTaskPool(1);
    private final ThreadMXBean clock = ManagementFactory.getThreadMXBean();
    private final PrintStream silent = new PrintStream(OutputStream.nullOutputStream());

    private Memory files(String release) {
        try {
            JavaFileManager platform = null;
            if (!release.isEmpty() && !release.equals(Integer.toString(Runtime.version().feature()))) {
                platform = PlatformUtils.lookupPlatformDescription(release).getFileManager();
            }
            return new Memory(compiler.getStandardFileManager(null, Locale.ROOT, StandardCharsets.UTF_8), platform);
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }

    private Map<String, Binary> compile(String release, String source, Outcome outcome) {
        DiagnosticCollector<JavaFileObject> problems = new DiagnosticCollector<>();
        Memory memory = managers.computeIfAbsent(release, this::files);
        memory.classes = new HashMap<>();
        List<String> options = new ArrayList<>(List.of("-nowarn", "-proc:none"));
        if (!release.isEmpty()) {
            options.addAll(List.of("-source", release, "-target", release));
        }
        boolean good = pool.getTask(
                null, memory, problems, options, null, List.of(new Source(source)), task -> task.call());
        if (good) {
            return memory.classes;
        }
        outcome.detail = "does not compile";
        for (Diagnostic<?> problem : problems.getDiagnostics()) {
            if (problem.getKind() == Diagnostic.Kind.ERROR) {
                outcome.detail = "compiler: " + problem.getCode();
                break;
            }
        }
        return null;
    }

    private static void execute(Map<String, Binary> classes, Outcome outcome) {
        try {
            Class<?> main = Class.forName("Main", true, new Loader(classes));
            Method method = main.getMethod("main", String[].class);
            method.setAccessible(true);
            method.invoke(null, (Object) new String[0]);
            outcome.status = "passed";
            outcome.detail = "";
        } catch (InvocationTargetException wrapped) {
            record(wrapped.getCause(), outcome);
        } catch (Throwable error) {
            record(error, outcome);
        }
    }

    private static void record(Throwable error, Outcome outcome) {
        outcome.status = error instanceof OutOfMemoryError ? "memory" : "failed";
        outcome.detail = error == null ? "" : error.getClass().getSimpleName();
    }

    /** CPU milliseconds of the living threads of the group. */
    private long used(ThreadGroup group) {
        Thread[] threads = new Thread[64];
        int count = group.enumerate(threads, true);
        long sum = 0;
        for (int i = 0; i < count; i++) {
            sum += Math.max(0, clock.getThreadCpuTime(threads[i].getId()));
        }
        return sum / 1_000_000;
    }

    private static boolean busy(ThreadGroup group) {
        Thread[] threads = new Thread[64];
        int count = group.enumerate(threads, true);
        for (int i = 0; i < count; i++) {
            if (!threads[i].isDaemon()) {
                return true;
            }
        }
        return false;
    }

    /** Waits for the program; false when it has to be given up. */
    private boolean await(Thread thread, ThreadGroup group, long cpu, long wall, long[] spent) throws Exception {
        long begin = System.nanoTime();
        long look = begin + wall * 500_000;
        long before = 0;
        long pause = 1;
        while (thread.isAlive() || busy(group)) {
            thread.join(pause);
            if (thread.isAlive()) {
                spent[0] = used(group);
            } else if (busy(group)) {
                Thread.sleep(1);
            }
            long now = System.nanoTime();
            if (spent[0] > cpu || now > begin + 10 * wall * 1_000_000) {
                return false;
            }
            if (now > look) {
                // The wall cap ends what sleeps, not what a busy machine keeps from running.
                if (now > begin + wall * 1_000_000 && (spent[0] - before) * 1000 < wall) {
                    return false;
                }
                before = spent[0];
                look = now + wall * 500_000;
            }
            pause = Math.min(20, pause * 2);
        }
        return true;
    }

    @SuppressWarnings({"deprecation", "removal"})
    private static boolean stopped(Thread thread) throws Exception {
        try {
            thread.stop();
        } catch (UnsupportedOperationException newer) {
            return false;
        }
        thread.join(300);
        return !thread.isAlive();
    }

    /** Judges one program; true when this JVM is as good as new afterwards. */
    private boolean judge(String release, long cpu, long wall, String source, Outcome outcome, long[] spent)
            throws Exception {
        Map<String, Binary> classes;
        System.setOut(silent);
        System.setErr(silent);
        try {
            classes = compile(release, source, outcome);
        } catch (Throwable error) {
            outcome.status = "broken";
            outcome.detail = "compiler: " + error.getClass().getSimpleName();
            return false;
        }
        if (classes == null) {
            return true;
        }
        Properties properties = (Properties) System.getProperties().clone();
        Locale locale = Locale.getDefault();
        TimeZone zone = TimeZone.getDefault();
        System.setIn(new ByteArrayInputStream(new byte[0]));
        ThreadGroup group = new ThreadGroup("program");
        Thread thread = new Thread(group, () -> execute(classes, outcome), "main");
        thread.start();
        boolean ended = await(thread, group, cpu, wall, spent);
        boolean clean = ended;
        if (!ended) {
            clean = stopped(thread);
            outcome.status = "timeout";
            outcome.detail = "";
        }
        System.setProperties(properties);
        Locale.setDefault(locale);
        TimeZone.setDefault(zone);
        return clean && group.activeCount() == 0 && !outcome.status.equals("memory");
    }

    private static String read(DataInputStream in) throws IOException {
        byte[] bytes = new byte[in.readInt()];
        in.readFully(bytes);
        return new String(bytes, StandardCharsets.UTF_8);
    }

    private static void write(DataOutputStream out, String text) throws IOException {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        out.writeInt(bytes.length);
        out.write(bytes);
    }

    private void serve(DataInputStream in, DataOutputStream out) throws Exception {
        while (true) {
            String nonce = read(in);
            String release = read(in);
            long cpu = Long.parseLong(read(in));
            long wall = Long.parseLong(read(in));
            String source = read(in);
            Outcome outcome = new Outcome();
            long[] spent = new long[1];
            boolean clean = judge(release, cpu, wall, source, outcome, spent);
            write(out, nonce);
            write(out, outcome.status);
            write(out, outcome.detail);
            write(out, Long.toString(spent[0]));
            write(out, clean ? "clean" : "spent");
            out.flush();
            if (!clean) {
                Runtime.getRuntime().halt(0);
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        DataInputStream in = new DataInputStream(new FileInputStream(FileDescriptor.in));
        DataOutputStream out =
                new DataOutputStream(new java.io.BufferedOutputStream(new FileOutputStream(FileDescriptor.out)));
        out.writeBytes("ready");
        out.flush();
        try {
            new Judge().serve(in, out);
        } catch (EOFException end) {
            Runtime.getRuntime().halt(0);
        }
    }
}
