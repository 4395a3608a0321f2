// npm run deb: builds the program and its Debian package, and checks the package with lintian.
import { build, ensurePackages, runTypeScript } from './setup.mjs';

ensurePackages();
build();
process.exit(runTypeScript('tools/deb.ts', process.argv.slice(2)));
