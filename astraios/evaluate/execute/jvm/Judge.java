package judge;

import com.sun.tools.javac.api.JavacTaskPool;
import com.sun.tools.javac.platform.PlatformUtils;
import java.io.BufferedOutputStream;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.tools.Diagnostic;
import javax.tools.DiagnosticCollector;
import javax.tools.FileObject;
import javax.tools.ForwardingJavaFileManager;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileManager;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;

/**
 * Compiles programs and runs their tests in one warm JVM. No code of a program ever runs here: where a test names a
 * class of the program it gets a stand-in (Stub), whose methods are called in another JVM, which has no test.
 *
 * Frames on stdin: J (a program with its test), R (an answer from the other JVM), X (it is gone). On stdout: L and C
 * (for the other JVM), V (a verdict).
 */
public final class Judge {
    private static final class Source extends SimpleJavaFileObject {
        private final String text;

        Source(String name, String text) {
            super(URI.create("string:///" + name + ".java"), Kind.SOURCE);
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

        Loader(Map<String, Binary> classes, ClassLoader parent) {
            super(parent);
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

    private static final Pattern IMPORT =
            Pattern.compile("(?m)^[ \\t]*import[ \\t]+(?:static[ \\t]+)?java\\.[\\w.]+(?:\\.\\*)?[ \\t]*;");

    private final JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    private final Map<String, Memory> managers = new HashMap<>();
    private JavacTaskPool pool = new JavacTaskPool(1);

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

    private Map<String, Binary> pooled(String release, Outcome outcome, String... sources) {
        Memory memory = managers.computeIfAbsent(release, this::files);
        memory.classes = new HashMap<>();
        DiagnosticCollector<JavaFileObject> problems = new DiagnosticCollector<>();
        boolean good = pool.getTask(
                null, memory, problems, options(release), null, units(sources), task -> task.call());
        return good ? memory.classes : refused(problems, outcome);
    }

    /** With a compiler that nothing has been compiled with before. */
    private Map<String, Binary> fresh(String release, Outcome outcome, String... sources) {
        managers.remove(release);
        pool = new JavacTaskPool(1);
        return pooled(release, outcome, sources);
    }

    private static List<String> options(String release) {
        List<String> options = new ArrayList<>(List.of("-nowarn", "-proc:none"));
        if (!release.isEmpty()) {
            options.addAll(List.of("-source", release, "-target", release));
        }
        return options;
    }

    private static List<JavaFileObject> units(String... sources) {
        List<JavaFileObject> units = new ArrayList<>();
        for (int i = 0; i < sources.length; i++) {
            units.add(new Source(i == 0 ? "Main" : "Stubs", sources[i]));
        }
        return units;
    }

    private static Map<String, Binary> refused(DiagnosticCollector<JavaFileObject> problems, Outcome outcome) {
        outcome.detail = "does not compile";
        for (Diagnostic<?> problem : problems.getDiagnostics()) {
            if (problem.getKind() == Diagnostic.Kind.ERROR) {
                outcome.detail = "compiler: " + problem.getCode();
                break;
            }
        }
        return null;
    }

    /** What a used compiler refuses is compiled again with a fresh one, and one that fails spoils nothing after it. */
    private Map<String, Binary> compile(String release, Outcome outcome, String... sources) {
        try {
            Map<String, Binary> classes = pooled(release, outcome, sources);
            if (classes != null) {
                return classes;
            }
        } catch (Throwable failure) {
            outcome.detail = "compiler: " + failure.getClass().getSimpleName();
        }
        try {
            Map<String, Binary> classes = fresh(release, outcome, sources);
            if (classes == null && outcome.detail.contains("limit")) {
                renew(release);
            }
            return classes;
        } catch (Throwable failure) {
            outcome.detail = "compiler: " + failure.getClass().getSimpleName();
            renew(release);
            return null;
        }
    }

    private void renew(String release) {
        managers.remove(release);
        pool = new JavacTaskPool(1);
    }

    private static final class Outcome {
        String status = "failed";
        String detail = "ended without a verdict";
    }

    private final DataInputStream in = new DataInputStream(new FileInputStream(FileDescriptor.in));
    private final DataOutputStream out =
            new DataOutputStream(new BufferedOutputStream(new FileOutputStream(FileDescriptor.out)));

    private void judge(String release, long cpu, long wall, String code, String test, Outcome outcome)
            throws Exception {
        Map<String, Binary> program = compile(release, outcome, code);
        if (program == null) {
            return;
        }
        StringBuilder imports = new StringBuilder("import java.util.*;");
        for (Matcher found = IMPORT.matcher(code); found.find(); ) {
            imports.append(found.group().trim());
        }
        ClassLoader scratch = new Loader(program, ClassLoader.getPlatformClassLoader());
        String stubs;
        try {
            stubs = Stub.sources(program.keySet(), scratch, imports.toString());
        } catch (LinkageError error) {
            outcome.detail = error.getClass().getSimpleName();
            return;
        }
        Map<String, Binary> classes = compile(release, outcome, imports + test, stubs);
        if (classes == null) {
            return;
        }
        if (program.containsKey("Main")) {
            outcome.detail = "compiler: compiler.err.duplicate.class";
            return;
        }
        load(program, cpu, wall);
        Bridge bridge = new Bridge(in, out, new Loader(classes, Judge.class.getClassLoader()));
        Bridge.current = bridge;
        run(bridge, outcome);
        Bridge.current = null;
    }

    private void load(Map<String, Binary> program, long cpu, long wall) throws IOException {
        ByteArrayOutputStream content = new ByteArrayOutputStream();
        DataOutputStream frame = new DataOutputStream(content);
        frame.writeByte('L');
        frame.writeLong(cpu);
        frame.writeLong(wall);
        frame.writeInt(program.size());
        boolean plain = true;
        for (Map.Entry<String, Binary> entry : program.entrySet()) {
            byte[] bytes = entry.getValue().bytes.toByteArray();
            plain &= Reach.plain(bytes, program.keySet());
            Values.utf(frame, entry.getKey());
            frame.writeInt(bytes.length);
            frame.write(bytes);
        }
        frame.writeBoolean(plain);
        Values.frame(out, content);
    }

    private static void run(Bridge bridge, Outcome outcome) {
        try {
            Method method = bridge.loader.loadClass("Main").getMethod("main", String[].class);
            method.setAccessible(true);
            method.invoke(null, (Object) new String[0]);
            outcome.status = "passed";
            outcome.detail = "";
        } catch (InvocationTargetException wrapped) {
            Throwable error = wrapped.getCause();
            while (error instanceof ExceptionInInitializerError && error.getCause() != null) {
                error = error.getCause();
            }
            outcome.status = error instanceof OutOfMemoryError ? "memory" : "failed";
            outcome.detail = error.getClass().getSimpleName();
        } catch (Throwable error) {
            outcome.detail = error.getClass().getSimpleName();
        }
        if (bridge.gone != null) {
            outcome.status = bridge.gone.startsWith("timeout") ? "timeout" : "failed";
            outcome.detail = bridge.gone.startsWith("timeout") ? "" : bridge.gone;
        }
    }

    private void serve() throws Exception {
        while (true) {
            DataInputStream frame = new DataInputStream(new ByteArrayInputStream(Values.frame(in)));
            if (frame.readByte() != 'J') {
                continue;
            }
            String release = Values.utf(frame);
            long cpu = frame.readLong();
            long wall = frame.readLong();
            String code = Values.utf(frame);
            String test = Values.utf(frame);
            Outcome outcome = new Outcome();
            judge(release, cpu, wall, code, test, outcome);
            ByteArrayOutputStream content = new ByteArrayOutputStream();
            DataOutputStream reply = new DataOutputStream(content);
            reply.writeByte('V');
            Values.utf(reply, outcome.status);
            Values.utf(reply, outcome.detail);
            Values.frame(out, content);
        }
    }

    public static void main(String[] arguments) throws Exception {
        PrintStream silent = new PrintStream(OutputStream.nullOutputStream());
        System.setOut(silent);
        System.setErr(silent);
        System.setIn(new ByteArrayInputStream(new byte[0]));
        Judge judge = new Judge();
        ByteArrayOutputStream ready = new ByteArrayOutputStream();
        ready.write('!');
        Values.frame(judge.out, ready);
        try {
            judge.serve();
        } catch (EOFException end) {
            Runtime.getRuntime().halt(0);
        }
    }
}
