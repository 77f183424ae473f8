// Reads AsyncAPI documents with the official parser, from the folder that is given first. An error or a warning is one
// line a problem, and exit 1; what the parser merely recommends is not asked for.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const [folder, ...paths] = process.argv.slice(2);
const { Parser } = createRequire(resolve(folder, "here"))("@asyncapi/parser");
const WARNING = 1;

for (const path of paths) {
  const { document, diagnostics } = await new Parser().parse(readFileSync(path, "utf8"));
  const problems = diagnostics.filter(({ severity }) => severity <= WARNING);
  for (const problem of problems) console.error(`${path}: ${problem.path.join("/")}: ${problem.message}`);
  if (problems.length || !document) process.exitCode = 1;
  else console.log(`${path}: AsyncAPI ${document.version()}, ${document.allMessages().length} messages`);
}
