package judge;

import com.sun.tools.javac.api.JavacTaskPool;
import com.sun.tools.javac.platform.PlatformUtils;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import javax.tools.Diagnostic;
import javax.tools.DiagnosticCollector;
import javax.tools.FileObject;
import javax.tools.ForwardingJavaFileManager;
import javax.tools.ForwardingJavaFileObject;
import javax.tools.JavaFileManager;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;

/**
 * A warm javac, from texts to classes in memory. What a used one refuses is compiled again with a fresh one; one that
 * breaks is thrown away, and all files that it had open with it.
 */
final class Compiler {
    /** Classes by name, or why there are none. */
    static final class Result {
        /** Null where the sources do not compile. */
        final Map<String, byte[]> classes;
        final String problem;
        /** Whether the compiler broke, so that nothing is known about the sources. */
        final boolean broken;

        private Result(Map<String, byte[]> classes, String problem, boolean broken) {
            this.classes = classes;
            this.problem = problem;
            this.broken = broken;
        }
    }

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

    /** A class of the platform, read once. */
    private static final class Known extends ForwardingJavaFileObject<JavaFileObject> {
        private byte[] bytes;

        Known(JavaFileObject file) {
            super(file);
        }

        @Override
        public InputStream openInputStream() throws IOException {
            if (bytes == null) {
                try (InputStream in = fileObject.openInputStream()) {
                    bytes = in.readAllBytes();
                }
            }
            return new ByteArrayInputStream(bytes);
        }

        static JavaFileObject of(JavaFileObject file) {
            return file != null && file.getKind() == Kind.CLASS ? new Known(file) : file;
        }

        static FileObject raw(FileObject file) {
            return file instanceof Known ? ((Known) file).fileObject : file;
        }
    }

    /** The platform's classes of one release: nothing that is compiled changes them, so each compiler gets the same. */
    private static final class Library {
        private static final Map<String, Library> OPEN = new HashMap<>();

        private final StandardJavaFileManager files =
                ToolProvider.getSystemJavaCompiler().getStandardFileManager(null, Locale.ROOT, StandardCharsets.UTF_8);
        private final JavaFileManager platform;
        private final Map<List<Object>, List<JavaFileObject>> lists = new HashMap<>();
        private final Map<List<Object>, JavaFileObject> single = new HashMap<>();

        private Library(String release) {
            boolean own = release.isEmpty() || release.equals(Integer.toString(Runtime.version().feature()));
            try {
                platform = own ? null : PlatformUtils.lookupPlatformDescription(release).getFileManager();
            } catch (Exception error) {
                throw new IllegalStateException(error);
            }
        }

        static Library of(String release) {
            return OPEN.computeIfAbsent(release, Library::new);
        }

        private JavaFileManager at(JavaFileManager.Location place) {
            return platform != null && platform.hasLocation(place) ? platform : files;
        }

        private Iterable<JavaFileObject> list(
                JavaFileManager.Location place, String pack, Set<JavaFileObject.Kind> kinds, boolean deep)
                throws IOException {
            List<Object> key = List.of(place, pack, Set.copyOf(kinds), deep);
            List<JavaFileObject> known = lists.get(key);
            if (known == null) {
                known = new ArrayList<>();
                for (JavaFileObject file : at(place).list(place, pack, kinds, deep)) {
                    known.add(Known.of(file));
                }
                keep(lists, key, known.isEmpty() ? null : known);
            }
            return known;
        }

        private JavaFileObject get(JavaFileManager.Location place, String name, JavaFileObject.Kind kind)
                throws IOException {
            List<Object> key = List.of(place, name, kind);
            JavaFileObject known = single.get(key);
            if (known == null) {
                known = Known.of(at(place).getJavaFileForInput(place, name, kind));
                keep(single, key, known);
            }
            return known;
        }

        /** Only what is there: a program can name any number of packages that are not. */
        private static <T> void keep(Map<List<Object>, T> kept, List<Object> key, T found) {
            if (found != null) {
                kept.put(key, found);
            }
        }
    }

    /** Classes go to memory; those of the platform come from a library. */
    private static final class Memory extends ForwardingJavaFileManager<StandardJavaFileManager> {
        private final Library library;
        private Map<String, Binary> classes = new HashMap<>();

        Memory(Library library) {
            super(library.files);
            this.library = library;
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
            return library.list(place, pack, kinds, deep);
        }

        @Override
        public String inferBinaryName(JavaFileManager.Location place, JavaFileObject file) {
            return library.at(place).inferBinaryName(place, (JavaFileObject) Known.raw(file));
        }

        @Override
        public boolean isSameFile(FileObject one, FileObject other) {
            return fileManager.isSameFile(Known.raw(one), Known.raw(other));
        }

        @Override
        public boolean hasLocation(JavaFileManager.Location place) {
            return library.at(place).hasLocation(place);
        }

        @Override
        public JavaFileObject getJavaFileForInput(
                JavaFileManager.Location place, String name, JavaFileObject.Kind kind) throws IOException {
            return library.get(place, name, kind);
        }

        @Override
        public JavaFileManager.Location getLocationForModule(JavaFileManager.Location place, String name)
                throws IOException {
            return library.at(place).getLocationForModule(place, name);
        }

        @Override
        public JavaFileManager.Location getLocationForModule(JavaFileManager.Location place, JavaFileObject file)
                throws IOException {
            return library.at(place).getLocationForModule(place, (JavaFileObject) Known.raw(file));
        }

        @Override
        public String inferModuleName(JavaFileManager.Location place) throws IOException {
            return library.at(place).inferModuleName(place);
        }

        @Override
        public Iterable<Set<JavaFileManager.Location>> listLocationsForModules(JavaFileManager.Location place)
                throws IOException {
            return library.at(place).listLocationsForModules(place);
        }

        @Override
        public boolean contains(JavaFileManager.Location place, FileObject file) throws IOException {
            return library.at(place).contains(place, Known.raw(file));
        }

        @Override
        public void close() {
            // Kept open: the next program is compiled with the same one.
        }
    }

    private final Map<String, Memory> managers = new HashMap<>();
    private JavacTaskPool pool = new JavacTaskPool(1);

    /**
     * Compiles texts.
     *
     * @param release language level, empty for the JDK's own
     * @param sources the file Main.java, and Stubs.java where there is a second
     */
    Result compile(String release, String... sources) {
        Result first = once(release, sources);
        if (first.classes != null) {
            return first;
        }
        pool = new JavacTaskPool(1);
        Result second = once(release, sources);
        if (second.broken || second.problem.contains("limit")) {
            forget();
        }
        return second;
    }

    private Result once(String release, String... sources) {
        DiagnosticCollector<JavaFileObject> problems = new DiagnosticCollector<>();
        try {
            Memory memory = memory(release);
            memory.classes = new HashMap<>();
            if (pool.getTask(null, memory, problems, options(release), null, units(sources), task -> task.call())) {
                Map<String, byte[]> classes = new HashMap<>();
                memory.classes.forEach((name, binary) -> classes.put(name, binary.bytes.toByteArray()));
                return new Result(classes, null, false);
            }
        } catch (Throwable failure) {
            forget();
            return new Result(null, "compiler: " + failure.getClass().getSimpleName(), true);
        }
        for (Diagnostic<?> problem : problems.getDiagnostics()) {
            if (problem.getKind() == Diagnostic.Kind.ERROR) {
                return new Result(null, "compiler: " + problem.getCode(), false);
            }
        }
        forget();
        return new Result(null, "does not compile", true);
    }

    private Memory memory(String release) {
        Library library = Library.of(release);
        Memory memory = managers.get(release);
        if (memory == null || memory.library != library) {
            memory = new Memory(library);
            managers.put(release, memory);
            pool = new JavacTaskPool(1);
        }
        return memory;
    }

    /** Throws this compiler away, and what all compilers have open. */
    private void forget() {
        Library.OPEN.clear();
        managers.clear();
        pool = new JavacTaskPool(1);
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
}
