package judge;

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
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Compiles programs and runs their tests in one warm JVM. No code of a program ever runs here: where a test names a
 * class of the program it gets a stand-in (Stub), whose methods are called in another JVM, which has no test.
 *
 * Frames on stdin: J (a program with its test), R (an answer from the other JVM), X (it is gone). On stdout: L and C
 * (for the other JVM), V (a verdict).
 */
public final class Judge {
    private static final class Loader extends ClassLoader {
        private final Map<String, byte[]> classes;

        Loader(Map<String, byte[]> classes, ClassLoader parent) {
            super(parent);
            this.classes = classes;
        }

        @Override
        protected Class<?> findClass(String name) throws ClassNotFoundException {
            byte[] bytes = classes.get(name);
            if (bytes == null) {
                throw new ClassNotFoundException(name);
            }
            return defineClass(name, bytes, 0, bytes.length);
        }
    }

    private static final Pattern IMPORT =
            Pattern.compile("(?m)^[ \\t]*import[ \\t]+(?:static[ \\t]+)?java\\.[\\w.]+(?:\\.\\*)?[ \\t]*;");

    /** Tests that were compiled: programs of one problem mostly have the same stand-ins. */
    private static final int KEPT = 64;

    /** The text of a program never meets a compiler that tests are compiled with. */
    private final Compiler forPrograms = new Compiler();
    private final Compiler forTests = new Compiler();
    private final Map<List<String>, Compiler.Result> tests = new LinkedHashMap<>(KEPT, 0.75f, true);

    private Compiler.Result test(String release, String test, String stubs) {
        List<String> key = List.of(release, test, stubs);
        Compiler.Result result = tests.get(key);
        if (result == null) {
            result = forTests.compile(release, test, stubs);
            if (!result.broken) {
                tests.put(key, result);
            }
            if (tests.size() > KEPT) {
                tests.remove(tests.keySet().iterator().next());
            }
        }
        return result;
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
        Compiler.Result compiled = forPrograms.compile(release, code);
        if (compiled.classes == null) {
            outcome.detail = compiled.problem;
            return;
        }
        Map<String, byte[]> program = compiled.classes;
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
        Compiler.Result tested = test(release, imports + test, stubs);
        if (tested.classes == null) {
            outcome.detail = tested.problem;
            return;
        }
        if (program.containsKey("Main")) {
            outcome.detail = "compiler: compiler.err.duplicate.class";
            return;
        }
        load(program, cpu, wall);
        Bridge bridge = new Bridge(in, out, new Loader(tested.classes, Judge.class.getClassLoader()));
        Bridge.current = bridge;
        run(bridge, outcome);
        Bridge.current = null;
    }

    private void load(Map<String, byte[]> program, long cpu, long wall) throws IOException {
        ByteArrayOutputStream content = new ByteArrayOutputStream();
        DataOutputStream frame = new DataOutputStream(content);
        frame.writeByte('L');
        frame.writeLong(cpu);
        frame.writeLong(wall);
        frame.writeInt(program.size());
        boolean plain = true;
        for (Map.Entry<String, byte[]> entry : program.entrySet()) {
            byte[] bytes = entry.getValue();
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
