package server_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	maxFileLines       = 600
	maxFunctionLines   = 80
	maxPackageDocLines = 25
)

// largeForAReason lists what may be longer than the limits, each with its
// reason: a file by its path from the root, a function as "path: name".
// Tables need no entry: their lines are not counted.
var largeForAReason = map[string]string{}

// skipped are folders whose contents are not ours.
var skipped = []string{".git", "bin", "data", "node_modules"}

// root is the module's folder, seen from this package's.
const root = ".."

// walk calls visit with the path from the root of every file of the project.
func walk(t *testing.T, visit func(path string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if slices.Contains(skipped, entry.Name()) {
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil // .git is a file in a worktree
		}
		if entry.Type().IsRegular() {
			name, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			visit(filepath.ToSlash(name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// source is a Go file of the project.
type source struct {
	path  string
	file  *ast.File
	fset  *token.FileSet
	lines int
}

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	walk(t, func(path string) {
		if !strings.HasSuffix(path, ".go") {
			return
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, filepath.Join(root, path), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, source{path: path, file: file, fset: fset, lines: fset.File(file.Pos()).LineCount()})
	})
	return all
}

// span is the number of lines that a piece of code takes.
func (s source) span(n ast.Node) int {
	return s.fset.Position(n.End()).Line - s.fset.Position(n.Pos()).Line + 1
}

// tableLines counts the lines below n that are the contents of slices, arrays
// and maps written out: data, which may be as long as the standard makes it.
func (s source) tableLines(n ast.Node) int {
	lines := 0
	ast.Inspect(n, func(n ast.Node) bool {
		lit, ok := n.(*ast.CompositeLit)
		if !ok {
			return true
		}
		switch lit.Type.(type) {
		case *ast.ArrayType, *ast.MapType:
			lines += s.span(lit) - 1
			return false // what is nested in it has been counted with it
		}
		return true
	})
	return lines
}

// TestHouseSizes keeps files and functions short enough to be read in one go.
func TestHouseSizes(t *testing.T) {
	used := map[string]bool{}
	check := func(name string, lines, limit int) {
		if lines < limit {
			return
		}
		used[name] = true
		if largeForAReason[name] == "" {
			t.Errorf("%s: %d lines, %d are the limit", name, lines, limit)
		}
	}
	for _, s := range sources(t) {
		check(s.path, s.lines-s.tableLines(s.file), maxFileLines)
		for _, decl := range s.file.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok {
				check(s.path+": "+fn.Name.Name, s.span(fn)-s.tableLines(fn), maxFunctionLines)
			}
		}
	}
	for name := range largeForAReason {
		if !used[name] {
			t.Errorf("%s is listed as large for a reason, but is not large", name)
		}
	}
}

// wellKnown are methods whose meaning their interface in the standard library says.
var wellKnown = []string{"Error", "String", "Unwrap", "Is", "MarshalJSON", "UnmarshalJSON", "MarshalText", "UnmarshalText", "ServeHTTP"}

// TestHouseDocs wants a comment on every exported name, and a package comment,
// not too long, on every package.
func TestHouseDocs(t *testing.T) {
	packageDocs := map[string]int{} // lines, by folder
	for _, s := range sources(t) {
		if strings.HasSuffix(s.path, "_test.go") {
			continue
		}
		folder := filepath.ToSlash(filepath.Dir(s.path))
		packageDocs[folder] += strings.Count(s.file.Doc.Text(), "\n")
		for _, decl := range s.file.Decls {
			for _, name := range undocumented(decl) {
				t.Errorf("%s:%d: exported %s has no comment", s.path, s.fset.Position(decl.Pos()).Line, name)
			}
		}
	}
	for folder, lines := range packageDocs {
		if lines == 0 {
			t.Errorf("%s has no package comment", folder)
		}
		if lines > maxPackageDocLines {
			t.Errorf("%s: package comment of %d lines, %d are the limit", folder, lines, maxPackageDocLines)
		}
	}
}

// undocumented lists the exported names that decl declares without a comment.
// In a group, the group's comment speaks for all.
func undocumented(decl ast.Decl) []string {
	var names []string
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		isMethod := decl.Recv != nil
		if !decl.Name.IsExported() || decl.Doc != nil {
			return nil
		}
		if isMethod && (slices.Contains(wellKnown, decl.Name.Name) || !ast.IsExported(receiver(decl))) {
			return nil
		}
		return []string{decl.Name.Name}
	case *ast.GenDecl:
		if decl.Doc != nil {
			return nil
		}
		for _, spec := range decl.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				if spec.Name.IsExported() && spec.Doc == nil && spec.Comment == nil {
					names = append(names, spec.Name.Name)
				}
			case *ast.ValueSpec:
				for _, name := range spec.Names {
					if name.IsExported() && spec.Doc == nil && spec.Comment == nil {
						names = append(names, name.Name)
					}
				}
			}
		}
	}
	return names
}

// receiver is the name of a method's type.
func receiver(method *ast.FuncDecl) string {
	expr := method.Recv.List[0].Type
	for {
		switch e := expr.(type) {
		case *ast.StarExpr:
			expr = e.X
		case *ast.IndexExpr:
			expr = e.X
		case *ast.IndexListExpr:
			expr = e.X
		case *ast.Ident:
			return e.Name
		default:
			panic(fmt.Sprintf("receiver of %s: %T", method.Name.Name, expr))
		}
	}
}

// emptyNames are package names that say nothing of what is inside.
var emptyNames = []string{"util", "utils", "common", "helper", "helpers", "misc", "shared", "base", "lib"}

// forbiddenText is what no file of the project may contain. The patterns are
// written such that they do not match themselves.
var forbiddenText = []struct {
	pattern *regexp.Regexp
	in      string // the file names' ending; empty for all
	why     string
}{
	{regexp.MustCompile(`\b(TODO|FIXME|XX[X]|HACK)\b`), ".go", "what is left for later belongs in the README's limits"},
	{regexp.MustCompile(`(^|[\s"'=:(])/(work|tmp/plan|home|root)/`), "", "a path of the machine it was written on"},
	{regexp.MustCompile(`"resolved": "https?://[^"]*`), "package-lock.json", "a lock file must not name the registry it was made with"},
}

// TestHouseWords refuses names that say nothing and text that means nothing to a stranger.
func TestHouseWords(t *testing.T) {
	walk(t, func(path string) {
		for _, part := range strings.Split(filepath.Dir(path), "/") {
			if slices.Contains(emptyNames, part) {
				t.Errorf("%s: a folder named %q says nothing of what is inside", path, part)
			}
		}
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.IndexByte(text, 0) >= 0 || path == "server/style_test.go" {
			return // a picture, say; or the patterns themselves
		}
		for _, forbidden := range forbiddenText {
			if !strings.HasSuffix(path, forbidden.in) {
				continue
			}
			if found := forbidden.pattern.Find(text); found != nil {
				t.Errorf("%s contains %q: %s", path, found, forbidden.why)
			}
		}
	})
}
