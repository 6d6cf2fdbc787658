import { lastAnswer, shownSql, useValue } from "./state.js";

const rounded = (number) => new Intl.NumberFormat("en", { maximumFractionDigits: 1 }).format(number);

/** Shows line ends, and a space for each other character that controls a terminal or the direction of text. */
const readable = (text) => text.replace(/[^\P{C}\n]+/gu, " ");

function Facts({ rows }) {
  return (
    <dl className="commonweal-facts">
      {rows
        .filter(([, value]) => value !== undefined)
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}

function Cost({ cost, limits }) {
  const state = cost?.throttleStatus;
  return (
    <>
      <h3>Cost</h3>
      {!cost && limits.length === 0 && <p>The answer names none.</p>}
      {cost && (
        <Facts
          rows={[
            ["Requested", rounded(cost.requestedQueryCost)],
            ["Actual", cost.actualQueryCost == null ? undefined : rounded(cost.actualQueryCost)],
            ["Left", state && `${rounded(state.currentlyAvailable)} of ${rounded(state.maximumAvailable)}`],
            ["Restored", state && `${rounded(state.restoreRate)} a second`],
          ]}
        />
      )}
      {state && (
        <meter
          aria-label="What is left"
          value={state.currentlyAvailable}
          max={state.maximumAvailable}
          low={state.maximumAvailable / 5}
        />
      )}
      {limits.length > 0 && <Facts rows={limits} />}
    </>
  );
}

function Sql({ answer }) {
  const isShown = useValue(shownSql);
  const statements = answer?.sql;
  const total = statements?.reduce((sum, { ms }) => sum + (ms ?? 0), 0);
  return (
    <>
      <h3>SQL</h3>
      <label className="commonweal-check">
        <input type="checkbox" checked={isShown} onChange={(event) => shownSql.set(event.target.checked)} />
        Show the statements of the next queries
      </label>
      {answer?.askedForSql && !statements && <p>They are shown to ADMINs of the platform alone.</p>}
      {statements && (
        <>
          <p>
            {statements.length === 1 ? "1 statement" : `${statements.length} statements`}, {rounded(total)} ms
          </p>
          <ol className="commonweal-statements">
            {statements.map(({ statement, ms }, index) => (
              <li key={index}>
                <span>{ms === null ? "failed" : `${rounded(ms)} ms`}</span>
                <pre>{readable(statement)}</pre>
              </li>
            ))}
          </ol>
        </>
      )}
    </>
  );
}

function LastQuery() {
  const answer = useValue(lastAnswer);
  return (
    <section className="commonweal-panel">
      <h2>Last query</h2>
      {!answer && <p>None was run yet.</p>}
      {answer && (
        <>
          <Facts
            rows={[
              ["Operation", answer.operationName ?? "without a name"],
              ["Status", answer.status],
              ["Time", `${rounded(answer.ms)} ms`],
              ["Size", `${rounded(answer.bytes)} bytes`],
            ]}
          />
          <Cost cost={answer.cost} limits={answer.limits} />
        </>
      )}
      <Sql answer={answer} />
    </section>
  );
}

const Icon = () => (
  <svg viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth="1.8" strokeLinecap="round">
    <path d="M3.5 18a9.5 9.5 0 1 1 17 0" />
    <path d="M12 14l4-5" />
    <circle cx="12" cy="14.5" r="1" />
  </svg>
);

export const costPlugin = { title: "Last query", icon: Icon, content: LastQuery };
